package page

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pawl/downloader/queue"
)

// A fake answers as the API of the daemon does, from tasks that a test has made up. It moves no bytes:
// a test says what happens.
type fake struct {
	mu         sync.Mutex
	status     map[string]any
	unfinished []*fakeTask // in order
	ended      []*fakeTask // newest first
	listeners  map[chan string]bool
	deleted    []string // IDs whose files were deleted
	down       bool     // requests of the API are cut
	locked     bool     // requests of the API are not authorized
	next       int      // for IDs
}

// A fakeTask is a task as the API shows it.
type fakeTask struct {
	V           int          `json:"v"`
	ID          string       `json:"id"`
	State       string       `json:"state"`
	URL         string       `json:"url"`
	URLs        []string     `json:"urls,omitempty"`
	Path        string       `json:"path"`
	Size        int64        `json:"size"`
	Held        int64        `json:"held"`
	Rate        int64        `json:"rate,omitempty"`
	Conns       int          `json:"conns,omitempty"`
	Reason      string       `json:"reason,omitempty"`
	List        bool         `json:"list,omitempty"`
	Text        string       `json:"text,omitempty"`
	Dir         string       `json:"dir"`
	Name        string       `json:"name,omitempty"`
	Position    *int         `json:"position,omitempty"`
	LimitRate   int64        `json:"limit_rate,omitempty"`
	Connections int          `json:"connections,omitempty"`
	Checksum    string       `json:"-"`
	Header      []string     `json:"-"`
	User        string       `json:"-"`
	Added       time.Time    `json:"added"`
	Created     time.Time    `json:"created"`
	Ended       time.Time    `json:"ended,omitzero"`
	Proof       string       `json:"proof,omitempty"`
	Exit        int          `json:"exit,omitempty"`
	Lost        []string     `json:"lost,omitempty"`
	Files       *queue.Files `json:"files,omitempty"`
	Detail      *fakeDetail  `json:"detail,omitempty"`
}

type fakeDetail struct {
	Ranges  [][2]int64   `json:"ranges"`
	Sources []fakeSource `json:"sources,omitempty"`
	Waiting *fakePause   `json:"waiting,omitempty"`
}

type fakeSource struct {
	URL      string `json:"url"`
	Conns    int    `json:"conns"`
	Received int64  `json:"received"`
	Error    string `json:"error,omitempty"`
}

type fakePause struct {
	Why   string    `json:"why"`
	Until time.Time `json:"until,omitzero"`
}

func newFake() *fake {
	return &fake{
		listeners: make(map[chan string]bool),
		status:    map[string]any{"v": 1, "version": "1.0", "root": "/srv/downloads", "jobs": 4, "limit_rate": 0, "rate": 0, "free": int64(1319413953331)},
	}
}

// put adds tasks without an event.
func (f *fake) put(tasks ...*fakeTask) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range tasks {
		f.next++
		t.V, t.ID = 1, fmt.Sprintf("%016x", f.next)
		if t.Dir == "" {
			t.Dir = "/srv/downloads"
		}
		if t.Added.IsZero() {
			t.Added = time.Now()
		}
		t.Created = t.Added
		if len(t.URLs) == 0 && t.URL != "" {
			t.URLs = []string{t.URL}
		} else if len(t.URLs) > 0 {
			t.URL = t.URLs[0]
		}
		if t.hasEnded() {
			f.ended = append(f.ended, t)
		} else {
			f.unfinished = append(f.unfinished, t)
		}
	}
}

func (t *fakeTask) hasEnded() bool {
	return t.State == "complete" || t.State == "error" || t.State == "removed"
}

// show returns t with its position and without its details. f.mu is held.
func (f *fake) show(t *fakeTask) fakeTask {
	shown := *t
	shown.Detail, shown.Text = nil, ""
	if i := slices.Index(f.idle(), t); i >= 0 {
		shown.Position = &i
	}
	return shown
}

// idle returns the unfinished tasks that do not run. f.mu is held.
func (f *fake) idle() (idle []*fakeTask) {
	for _, t := range f.unfinished {
		if t.State != "active" {
			idle = append(idle, t)
		}
	}
	return idle
}

// all returns all tasks as the API shows them. f.mu is held.
func (f *fake) all() []fakeTask {
	all := []fakeTask{}
	for _, t := range append(slices.Clone(f.unfinished), f.ended...) {
		all = append(all, f.show(t))
	}
	return all
}

// send sends an event. f.mu is held.
func (f *fake) send(event any) {
	text, err := json.Marshal(event)
	if err != nil {
		panic(err)
	}
	for l := range f.listeners {
		l <- string(text)
	}
}

// tell sends an event about a task. f.mu is held.
func (f *fake) tell(kind string, t *fakeTask) {
	f.send(map[string]any{"event": kind, "time": time.Now(), "task": f.show(t)})
}

// happen changes a task, as a download would do, and sends an event.
func (f *fake) happen(kind string, t *fakeTask, change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	f.place(t)
	f.tell(kind, t)
}

// place puts a task among the ended or the unfinished ones. f.mu is held.
func (f *fake) place(t *fakeTask) {
	same := func(o *fakeTask) bool { return o == t }
	switch was := slices.Contains(f.ended, t); {
	case t.hasEnded() && !was:
		f.unfinished = slices.DeleteFunc(f.unfinished, same)
		t.Ended = time.Now()
		f.ended = slices.Insert(f.ended, 0, t)
	case !t.hasEnded() && was:
		f.ended = slices.DeleteFunc(f.ended, same)
		f.unfinished = append(f.unfinished, t)
	}
}

// progress sends the progress of tasks.
func (f *fake) progress(tasks ...*fakeTask) {
	f.mu.Lock()
	defer f.mu.Unlock()
	all, rate := []map[string]any{}, int64(0)
	for _, t := range tasks {
		all = append(all, map[string]any{"id": t.ID, "held": t.Held, "size": t.Size, "rate": t.Rate, "conns": t.Conns})
		rate += t.Rate
	}
	f.status["rate"] = rate
	f.send(map[string]any{"event": "progress", "rate": rate, "tasks": all})
}

// setDown says whether the API can be reached. The events end if not.
func (f *fake) setDown(down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = down
	for l := range f.listeners {
		close(l)
		delete(f.listeners, l)
	}
}

// find returns the task with an ID, nil if there is none. f.mu is held.
func (f *fake) find(id string) *fakeTask {
	for _, t := range append(slices.Clone(f.unfinished), f.ended...) {
		if t.ID == id {
			return t
		}
	}
	return nil
}

// waitFor waits until what is true.
func (f *fake) waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		f.mu.Lock()
		ok := is()
		f.mu.Unlock()
		if ok {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("this has not happened: %s", what)
		}
	}
}

// ServeHTTP serves the page and the API.
func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.URL.Path, "/api/v1/")
	if !ok {
		Handler().ServeHTTP(w, r)
		return
	}
	f.mu.Lock()
	down, locked := f.down, f.locked
	f.mu.Unlock()
	if down {
		panic(http.ErrAbortHandler)
	}
	if locked {
		fail(w, 401, "auth", "the secret is missing")
		return
	}
	if path == "events" {
		f.events(w, r)
		return
	}
	if r.Method != "GET" && r.Header.Get("X-Pawl") != "1" {
		fail(w, 401, "auth", "the header field X-Pawl is missing")
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	id, _ := strings.CutPrefix(path, "tasks/")
	switch {
	case path == "status":
		f.serveStatus(w, r)
	case path == "history" && r.Method == "DELETE":
		for _, t := range f.ended {
			f.tell("forgotten", t)
		}
		f.ended = nil
		w.WriteHeader(204)
	case path == "tasks" && r.Method == "GET":
		states := strings.Split(r.FormValue("state"), ",")
		tasks := slices.DeleteFunc(f.all(), func(t fakeTask) bool { return states[0] != "" && !slices.Contains(states, t.State) })
		answer(w, 200, map[string]any{"tasks": tasks, "total": len(tasks)})
	case path == "tasks":
		f.add(w, r)
	case id == "pause" || id == "resume":
		f.setMany(w, r, map[string]string{"pause": "paused", "resume": "waiting"}[id])
	case f.find(id) == nil:
		fail(w, 404, "not_found", fmt.Sprintf("%q: no such download in the queue", id))
	case r.Method == "GET":
		shown := f.show(f.find(id))
		shown.Detail = f.find(id).Detail
		answer(w, 200, shown)
	case r.Method == "PATCH":
		f.change(w, r, f.find(id))
	case r.Method == "DELETE":
		f.remove(f.find(id), r.FormValue("files") == "true")
		w.WriteHeader(204)
	}
}

func (f *fake) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	l := make(chan string, 1000)
	f.mu.Lock()
	text, _ := json.Marshal(map[string]any{"event": "hello", "tasks": f.all(), "status": f.status})
	f.listeners[l] = true
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.listeners, l)
		f.mu.Unlock()
	}()
	for event, ok := string(text), true; ok; {
		fmt.Fprintf(w, "data: %s\n\n", event)
		w.(http.Flusher).Flush()
		select {
		case event, ok = <-l:
		case <-r.Context().Done():
			return
		}
	}
}

func (f *fake) serveStatus(w http.ResponseWriter, r *http.Request) {
	if r.Method == "PATCH" {
		var change map[string]any
		if !decode(w, r, &change) {
			return
		}
		for key, value := range change {
			f.status[key] = value
		}
	}
	answer(w, 200, f.status)
}

func (f *fake) add(w http.ResponseWriter, r *http.Request) {
	var specs []struct {
		fakeTask
		Checksum string
		Header   []string
		User     string
		Paused   bool
	}
	if !decode(w, r, &specs) {
		return
	}
	var added []fakeTask
	for i, s := range specs {
		for _, u := range s.URLs {
			if !strings.HasPrefix(u, "http") {
				fail(w, 400, "spec", fmt.Sprintf("element %d of the array: %q is not an http or https URL", i+1, u))
				return
			}
		}
	}
	for _, s := range specs {
		t, position := &s.fakeTask, s.Position
		t.Position = nil
		t.State, t.Size, t.Checksum, t.Header, t.User = "waiting", -1, s.Checksum, s.Header, s.User
		if s.Paused {
			t.State = "paused"
		}
		f.mu.Unlock()
		f.put(t)
		f.mu.Lock()
		if position != nil {
			f.move(t, *position)
		}
		f.tell("added", t)
		added = append(added, f.show(t))
	}
	answer(w, 201, added)
}

// move moves t to a position. f.mu is held.
func (f *fake) move(t *fakeTask, position int) {
	f.unfinished = slices.DeleteFunc(f.unfinished, func(o *fakeTask) bool { return o == t })
	idle := f.idle()
	at := len(f.unfinished)
	if position < len(idle) {
		at = slices.Index(f.unfinished, idle[position])
	}
	f.unfinished = slices.Insert(f.unfinished, at, t)
}

func (f *fake) change(w http.ResponseWriter, r *http.Request, t *fakeTask) {
	var c struct {
		State       string
		Position    *int
		URLs        []string
		LimitRate   *int64 `json:"limit_rate"`
		Connections *int
		Header      []string
		User        string
	}
	if !decode(w, r, &c) {
		return
	}
	kind := "changed"
	if c.State != "" {
		kind = map[string]string{"paused": "paused", "waiting": "resumed"}[c.State]
		f.setState(t, c.State)
	}
	if c.Position != nil {
		kind = "moved"
		f.move(t, *c.Position)
	}
	if c.URLs != nil {
		t.URL, t.URLs = c.URLs[0], c.URLs
	}
	if c.LimitRate != nil {
		t.LimitRate = *c.LimitRate
	}
	if c.Connections != nil {
		t.Connections = *c.Connections
	}
	if c.Header != nil || c.User != "" {
		t.Header, t.User, t.Lost = c.Header, c.User, nil
	}
	f.tell(kind, t)
	answer(w, 200, f.show(t))
}

// setState pauses or resumes t. f.mu is held.
func (f *fake) setState(t *fakeTask, state string) {
	if state == "paused" && t.hasEnded() || state == "waiting" && t.State == "active" {
		return
	}
	t.State, t.Reason, t.Rate, t.Conns, t.Exit, t.Ended = state, "", 0, 0, 0, time.Time{}
	f.place(t)
}

func (f *fake) setMany(w http.ResponseWriter, r *http.Request, state string) {
	var body struct{ IDs []string }
	if !decode(w, r, &body) {
		return
	}
	shown := []fakeTask{}
	for _, t := range append(slices.Clone(f.unfinished), f.ended...) {
		if body.IDs == nil && t.hasEnded() || body.IDs != nil && !slices.Contains(body.IDs, t.ID) {
			continue
		}
		f.setState(t, state)
		f.tell(map[string]string{"paused": "paused", "waiting": "resumed"}[state], t)
		shown = append(shown, f.show(t))
	}
	answer(w, 200, map[string]any{"tasks": shown})
}

// remove removes t: what runs becomes history. f.mu is held.
func (f *fake) remove(t *fakeTask, files bool) {
	if files {
		f.deleted = append(f.deleted, t.ID)
	}
	running := t.State == "active"
	if !t.hasEnded() {
		t.State, t.Reason = "removed", ""
		f.place(t)
		f.tell("removed", t)
	}
	if !running {
		f.ended = slices.DeleteFunc(f.ended, func(o *fakeTask) bool { return o == t })
		f.tell("forgotten", t)
	}
}

func decode(w http.ResponseWriter, r *http.Request, to any) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 2<<20))
	if err := d.Decode(to); err != nil {
		fail(w, 400, "spec", err.Error())
		return false
	}
	return true
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}

func fail(w http.ResponseWriter, status int, code, message string) {
	answer(w, status, map[string]any{"error": map[string]string{"code": code, "message": message}})
}
