package daemon

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"pawl/chunk"
	"pawl/cmd/pawl/bytetext"
	"pawl/downloader"
	"pawl/downloader/queue"
	"pawl/downloader/weburl"
	"pawl/store"
)

// maxNumber is the largest number of a request. Programs in JavaScript cannot write larger ones exactly.
const maxNumber = 1<<53 - 1

// showAt returns a task with its position, if it is among positions.
func (s *Server) showAt(t queue.Task, positions map[store.ID]int) *Task {
	shown := s.show(t)
	if n, ok := positions[t.ID]; ok {
		shown.Position = &n
	}
	return shown
}

// show returns a task without its position.
func (s *Server) show(t queue.Task) *Task {
	shown := NewTask(t)
	if t.State == queue.Active {
		shown.Rate, shown.Conns = s.hub.rate(t.ID), t.Progress.Conns
	}
	return shown
}

// NewTask returns a task as it is known without a daemon.
func NewTask(t queue.Task) *Task {
	shown := &Task{
		V: 1, ID: t.ID, State: t.State, URL: bytetext.Escape(t.URL()), Path: bytetext.Escape(t.Path), Size: t.Size, Held: t.Held,
		Reason: bytetext.Escape(weburl.RedactText(t.Reason)), Created: t.Added, Updated: t.Updated,
		List: t.List, Dir: bytetext.Escape(t.Dir), Name: bytetext.Escape(t.Name), LimitRate: t.LimitRate, Connections: t.Connections,
		Added: t.Added, Ended: t.Ended, Proof: string(t.Proof), Exit: t.Exit, Lost: t.Lost,
	}
	for _, u := range t.URLs {
		shown.URLs = append(shown.URLs, bytetext.Escape(weburl.WithoutUser(u)))
	}
	if t.List {
		shown.Files = &t.Files
	}
	return shown
}

// eachTask calls do for the unfinished tasks in their order, and for the ended ones, the newest first,
// until it returns an error. The tasks are taken one after another, because there may be many.
func (s *Server) eachTask(do func(*Task) error) error {
	ids, ended := s.queue.IDs()
	slices.Reverse(ended)
	positions := s.queue.Positions()
	for _, id := range append(ids, ended...) {
		t, err := s.queue.Task(id)
		if err != nil {
			continue // it was removed meanwhile
		}
		if err := do(s.showAt(t, positions)); err != nil {
			return err
		}
	}
	return nil
}

// detail returns the Detail of a task.
func (s *Server) detail(id store.ID) *Detail {
	d, _ := s.queue.Detail(id)
	shown := &Detail{Ranges: [][2]int64{}}
	for r := range d.Held.All() {
		shown.Ranges = append(shown.Ranges, [2]int64{r.Off, r.End})
	}
	for _, source := range d.Sources {
		u := Source{URL: bytetext.Escape(weburl.WithoutUser(source.URL)), Conns: source.Conns, Received: source.Received}
		if source.Err != nil {
			u.Error = bytetext.Escape(weburl.RedactText(source.Err.Error()))
		}
		shown.Sources = append(shown.Sources, u)
	}
	if d.Waiting.Err != nil {
		shown.Waiting = &Pause{Why: bytetext.Escape(weburl.RedactText(d.Waiting.Err.Error())), Until: d.Waiting.Until}
	}
	return shown
}

// An arrayWriter writes a JSON array, one element after another.
type arrayWriter struct {
	w io.Writer
	n int
}

func (a *arrayWriter) add(v any) error {
	text, err := encode(v)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(a.w, map[bool]string{false: ",", true: "["}[a.n == 0]); err != nil {
		return err
	}
	a.n++
	_, err = a.w.Write(text)
	return err
}

func (a *arrayWriter) end() error {
	_, err := io.WriteString(a.w, map[bool]string{false: "]", true: "[]"}[a.n == 0])
	return err
}

// encode returns v as JSON in one line, without the escapes that only HTML needs.
func encode(v any) ([]byte, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return []byte(strings.TrimSuffix(b.String(), "\n")), err
}

// add adds downloads, all or, if one is wrong, none, and returns their tasks when they are durable.
func (s *Server) add(all []Addition) ([]*Task, error) {
	specs, err := s.checkAll(all)
	if err != nil {
		return nil, err
	}
	tasks, err := s.addAll(all, specs)
	if err := s.durable(err); err != nil {
		return nil, err
	}
	if len(tasks) == 1 {
		return []*Task{s.showWithPosition(tasks[0])}, nil
	}
	positions, shown := s.queue.Positions(), make([]*Task, len(tasks))
	for i, t := range tasks {
		shown[i] = s.showAt(t, positions)
	}
	return shown, nil
}

// checkAll returns the specs of additions. The Spec of an addition with a record is empty.
func (s *Server) checkAll(all []Addition) ([]queue.Spec, error) {
	specs := make([]queue.Spec, len(all))
	for i, a := range all {
		err := checkNumber("position", a.Position, 0, math.MaxInt32)
		switch {
		case err != nil:
		case a.Record != "":
			if err = a.checkRecord(); err == nil {
				err = s.queue.CheckRecord(a.Record)
			}
		default:
			if specs[i], err = a.spec(); err == nil {
				err = s.queue.Check(specs[i])
			}
		}
		if err != nil {
			return nil, errorOfElement(err, i, len(all))
		}
	}
	return specs, nil
}

// addAll adds all to the queue, as many as possible by one call. It fails only if the queue is full, or if a record has
// gone since it was checked.
func (s *Server) addAll(all []Addition, specs []queue.Spec) (tasks []queue.Task, err error) {
	for len(tasks) < len(all) {
		i := len(tasks)
		var added []queue.Task
		if all[i].Record != "" {
			added = make([]queue.Task, 1)
			added[0], err = s.queue.AddRecord(all[i].Record, all[i].Paused)
		} else {
			added, err = s.queue.Add(specs[i:i+addableTogether(all[i:])], all[i].place(), all[i].Paused)
		}
		if err != nil && i > 0 {
			err = fmt.Errorf("%w; only the first %d were added", err, i)
		}
		if err != nil {
			return nil, err
		}
		tasks = append(tasks, added...)
	}
	return tasks, nil
}

// errorOfElement adds to an error the number of the element that it is about, from 1, if there are several.
func errorOfElement(err error, i, n int) error {
	if n == 1 {
		return err
	}
	e := *asError(err)
	e.Message = fmt.Sprintf("element %d of the array: %s", i+1, e.Message)
	return &e
}

// addableTogether returns how many of the first elements can be added by one call, because they follow each other in the queue.
func addableTogether(all []Addition) int {
	n := 1
	for all[0].Record == "" && n < len(all) && all[n].Record == "" && all[n].Paused == all[0].Paused && all[n].follows(&all[0], n) {
		n++
	}
	return n
}

// follows reports whether the position of a is n behind the position of b. Without positions, both are added at the end.
func (a *Addition) follows(b *Addition, n int) bool {
	if a.Position == nil || b.Position == nil {
		return a.Position == b.Position
	}
	return *a.Position == *b.Position+n
}

// place returns the position at which a is added.
func (a *Addition) place() queue.Place {
	if a.Position == nil {
		return queue.Last
	}
	return queue.Place{N: *a.Position}
}

// checkRecord returns an error if a has more than a record and Paused.
func (a *Addition) checkRecord() error {
	rest := *a
	rest.Record, rest.Paused = "", false
	if text, _ := encode(rest); string(text) != "{}" {
		return badRequest("the key %q allows no other key but %q", "record", "paused")
	}
	if !isID(string(a.Record)) {
		return badRequest("the value of the key %q is not an ID of 16 hex digits", "record")
	}
	return nil
}

// isID reports whether a text is 16 hex digits in lower case.
func isID(text string) bool {
	return len(text) == 16 && strings.Trim(text, "0123456789abcdef") == ""
}

// spec returns the Spec of a.
func (a *Addition) spec() (s queue.Spec, err error) {
	s = queue.Spec{
		URLs: a.URLs, List: a.List, Dir: a.Dir, Name: a.Name, LimitRate: a.LimitRate, Connections: a.Connections,
		UserAgent: a.UserAgent, Referer: a.Referer,
	}
	if a.Text != "" {
		if !a.List {
			return s, badRequest("the key %q is only for a list", "text")
		}
		s.Text = []byte(a.Text)
	}
	if a.List && (a.Name != "" || a.Checksum != "") {
		return s, badRequest("the keys %q and %q are not for a list", "name", "checksum")
	}
	if a.Overwrite {
		s.Existing.InTheWay = downloader.Replace
	}
	if a.Checksum != "" {
		if s.Sum, err = chunk.ParseSum(a.Checksum); err != nil {
			return s, badRequest("the value of the key %q is wrong: %v", "checksum", err)
		}
	}
	if s.Header, err = parseHeader(a.Header); err != nil {
		return s, err
	}
	s.User = parseUser(a.User)
	return s, checkSpec(&s)
}

// checkSpec checks the fields that the queue does not check.
func checkSpec(s *queue.Spec) error {
	if !httpguts.ValidHeaderFieldValue(s.UserAgent) {
		return badRequest("the value of the key %q is not possible in a header", "user_agent")
	}
	if !httpguts.ValidHeaderFieldValue(s.Referer) {
		return badRequest("the value of the key %q is not possible in a header", "referer")
	}
	return cmp.Or(checkNumber("limit_rate", &s.LimitRate, 0, maxNumber), checkNumber("connections", &s.Connections, 0, math.MaxInt32))
}

// parseHeader parses fields of the form "Name: value". Errors must not have the values, which may be secrets.
func parseHeader(fields []string) (http.Header, error) {
	header := make(http.Header)
	for i, field := range fields {
		name, value, ok := strings.Cut(field, ":")
		value = strings.TrimSpace(value)
		if !ok || !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return nil, badRequest("element %d of the key %q is not of the form \"Name: value\"", i+1, "header")
		}
		header.Add(name, value)
	}
	if len(header) == 0 {
		return nil, nil
	}
	return header, nil
}

// parseUser parses "USER:PASSWORD".
func parseUser(text string) *url.Userinfo {
	name, password, ok := strings.Cut(text, ":")
	switch {
	case text == "":
		return nil
	case !ok:
		return url.User(name)
	}
	return url.UserPassword(name, password)
}

// change changes a task, and returns when that is durable.
func (s *Server) change(id store.ID, c Change) error {
	if c.State != "" && c.State != queue.Paused && c.State != queue.Waiting {
		return badRequest("the value of the key %q must be %q or %q", "state", queue.Paused, queue.Waiting)
	}
	if err := checkNumber("position", c.Position, 0, math.MaxInt32); err != nil {
		return err
	}
	t, err := s.queue.Task(id)
	if err != nil {
		return err
	}
	revived := t.State == queue.Failed && c.State == queue.Waiting
	if c.Position != nil && (t.State == queue.Active || t.State.Ended() && !revived) {
		return fmt.Errorf("%q: %w: it does not wait, so it has no position", id, queue.ErrState)
	}
	if c.State == queue.Waiting && (t.State == queue.Complete || t.State == queue.Removed) || c.State == queue.Paused && t.State.Ended() {
		return fmt.Errorf("%q: %w: it has ended", id, queue.ErrState)
	}
	if err = s.changeSpec(id, c); err == nil {
		err = s.changeState(id, c.State)
	}
	if err == nil && c.Position != nil {
		_, err = s.queue.Move(id, queue.Place{N: *c.Position})
	}
	return s.durable(err)
}

// changeSpec changes the Spec of a task.
func (s *Server) changeSpec(id store.ID, c Change) error {
	c.State, c.Position = "", nil
	if text, _ := encode(c); string(text) == "{}" {
		return nil
	}
	header, err := parseHeader(c.Header)
	if err != nil {
		return err
	}
	return s.queue.Change(id, func(spec *queue.Spec) error {
		if c.URLs != nil {
			spec.URLs = c.URLs
		}
		if c.Header != nil {
			spec.Header = header
		}
		if c.User != nil {
			spec.User = parseUser(*c.User)
		}
		set(&spec.LimitRate, c.LimitRate)
		set(&spec.Connections, c.Connections)
		set(&spec.UserAgent, c.UserAgent)
		set(&spec.Referer, c.Referer)
		return checkSpec(spec)
	})
}

// set sets a value, unless the new one is nil.
func set[T any](value *T, to *T) {
	if to != nil {
		*value = *to
	}
}

// changeState pauses or resumes a task.
func (s *Server) changeState(id store.ID, to queue.State) error {
	switch to {
	case queue.Paused:
		return s.queue.Pause(id)
	case queue.Waiting:
		return s.queue.Resume(id)
	}
	return nil
}
