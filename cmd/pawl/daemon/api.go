package daemon

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"pawl/cmd/pawl/bytetext"
	"pawl/downloader/queue"
	"pawl/downloader/weburl"
	"pawl/store"
)

// apiPrefix is the path of version 1 of the API.
const apiPrefix = "/api/v1"

// apiRoutes are the requests of the API. A handler answers only if it returns nil.
var apiRoutes = []struct {
	method, path string
	answer       func(*Server, http.ResponseWriter, *http.Request) error
}{
	{"GET", "/status", (*Server).getStatus},
	{"PATCH", "/status", (*Server).patchStatus},
	{"GET", "/tasks", (*Server).getTasks},
	{"POST", "/tasks", (*Server).postTasks},
	{"POST", "/tasks/pause", (*Server).pauseTasks},
	{"POST", "/tasks/resume", (*Server).resumeTasks},
	{"GET", "/tasks/{id}", (*Server).getTask},
	{"PATCH", "/tasks/{id}", (*Server).patchTask},
	{"DELETE", "/tasks/{id}", (*Server).deleteTask},
	{"DELETE", "/history", (*Server).deleteHistory},
	{"GET", "/events", (*Server).getEvents},
	{"POST", "/open", (*Server).postOpen},
	{"POST", "/stop", (*Server).postStop},
}

// Errors of the API that do not come from the queue.
var (
	errTooLarge = &Error{Status: http.StatusRequestEntityTooLarge, Code: "too_large", Message: fmt.Sprintf("the body has more than %d bytes", maxBody)}
	errNoPath   = &Error{Status: http.StatusNotFound, Code: "not_found", Message: "there is no such path; see: pawl help api"}
)

// badRequest returns the error of a request that cannot be understood.
func badRequest(format string, args ...any) error {
	return &Error{Status: http.StatusBadRequest, Code: "spec", Message: fmt.Sprintf(format, args...)}
}

// queueErrors are the answers to the errors of a queue.
var queueErrors = []struct {
	err    error
	status int
	code   string
}{
	{queue.ErrNotFound, http.StatusNotFound, "not_found"},
	{store.ErrNotFound, http.StatusNotFound, "not_found"},
	{queue.ErrState, http.StatusConflict, "state"},
	{store.ErrForeign, http.StatusConflict, "state"}, // of a removed task: somebody has changed its file
	{queue.ErrSpec, http.StatusBadRequest, "spec"},
	{queue.ErrFull, http.StatusServiceUnavailable, "full"},
}

// asError returns err as the API reports it.
func asError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	for _, q := range queueErrors {
		if errors.Is(err, q.err) {
			return &Error{Status: q.status, Code: q.code, Message: weburl.RedactText(err.Error())}
		}
	}
	return &Error{Status: http.StatusInternalServerError, Code: "internal", Message: weburl.RedactText(err.Error())}
}

// api returns the handler of the paths below apiPrefix.
func (s *Server) api() http.Handler {
	methods := make(map[string]map[string]http.Handler) // by path and method
	for _, route := range apiRoutes {
		if methods[route.path] == nil {
			methods[route.path] = make(map[string]http.Handler)
		}
		methods[route.path][route.method] = s.answering(route.answer)
	}
	mux := http.NewServeMux()
	for path, of := range methods {
		mux.Handle(apiPrefix+path, byMethod(of))
	}
	mux.Handle("/", s.answering(func(*Server, http.ResponseWriter, *http.Request) error { return errNoPath }))
	return mux
}

// byMethod returns a handler that chooses one by the method.
func byMethod(of map[string]http.Handler) http.Handler {
	allowed := slices.Sorted(maps.Keys(of))
	if of[http.MethodGet] != nil {
		of[http.MethodHead] = of[http.MethodGet]
		allowed = append(allowed, http.MethodHead)
	}
	allowed = append(allowed, http.MethodOptions)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch h := of[r.Method]; {
		case h != nil:
			h.ServeHTTP(w, r)
		case r.Method == http.MethodOptions:
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			w.WriteHeader(http.StatusNoContent)
		default:
			refuseMethod(w, allowed...)
		}
	})
}

// refuseMethod answers a request with a method that its path does not have.
func refuseMethod(w http.ResponseWriter, allowed ...string) {
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	writeError(w, &Error{Status: http.StatusMethodNotAllowed, Code: "method", Message: "this path has only the methods " + strings.Join(allowed, ", ")})
}

// answering returns a handler that calls answer for requests with the secret, and reports its error.
func (s *Server) answering(answer func(*Server, http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.Authorize(r, "") {
			w.Header().Set("WWW-Authenticate", "Bearer")
			writeError(w, errUnauthorized)
			return
		}
		if err := answer(s, w, r); err != nil {
			e := asError(err)
			if e.Code == "internal" {
				s.log.Error("request failed", "method", r.Method, "path", r.URL.Path, "error", e.Message)
			}
			writeError(w, e)
		}
	})
}

// writeJSON sends v as the answer.
func writeJSON(w http.ResponseWriter, status int, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(b.Bytes()) // an error means that the client has gone
	return nil
}

// writeError sends an error as the answer.
func writeError(w http.ResponseWriter, e *Error) {
	if e.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	writeJSON(w, e.Status, map[string]*Error{"error": e})
}

// readBody returns the body of r, which must be valid JSON as far as it can be said without knowing its meaning.
func readBody(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(r.Body)
	var large *http.MaxBytesError
	switch {
	case errors.Is(err, errBusy):
		return nil, err
	case errors.As(err, &large):
		return nil, errTooLarge
	case err != nil:
		return nil, badRequest("the body cannot be read: %v", err)
	case !utf8.Valid(body):
		return nil, badRequest("the body is not UTF-8")
	case depth(body) > maxDepth:
		return nil, badRequest("the body has more than %d arrays and objects in each other", maxDepth)
	}
	return body, nil
}

// decode decodes a JSON object, or an array of objects, into *v. Errors name the key.
func decode(text []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	if err == nil {
		if _, more := dec.Token(); more != io.EOF {
			return badRequest("there is something behind the JSON of the body")
		}
		return checkKeys(text, knownKeys(reflect.TypeOf(v).Elem()))
	}
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrong) && wrong.Field != "":
		return badRequest("the value of the key %q has the wrong type: %s instead of %s", wrong.Field, wrong.Value, jsonType(wrong.Type))
	case wrong != nil:
		return badRequest("the body has the wrong type: %s instead of %s", wrong.Value, jsonType(wrong.Type))
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return badRequest("the JSON of the body ends too early")
	}
	why := strings.Replace(strings.TrimPrefix(err.Error(), "json: "), "unknown field", "unknown key", 1)
	return badRequest("the body is wrong: %s", why)
}

// knownKeys returns the JSON keys of a struct, or of the structs of a slice.
func knownKeys(t reflect.Type) (keys []string) {
	if t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	for field := range t.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		keys = append(keys, name)
	}
	return keys
}

// checkKeys returns an error if an object, or one of an array, has a key twice, or in another spelling: package
// json ignores the case of letters. The text must be valid for its type.
func checkKeys(text []byte, known []string) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	var seen []string // keys of the object; nil outside of objects
	for {
		token, err := dec.Token()
		if err != nil {
			return nil
		}
		switch token {
		case json.Delim('{'):
			seen = []string{}
			continue
		case json.Delim('}'):
			seen = nil
			continue
		}
		key, ok := token.(string)
		if !ok || seen == nil {
			continue // the array around the objects
		}
		switch {
		case !slices.Contains(known, key):
			return badRequest("unknown key %q", key)
		case slices.Contains(seen, key):
			return badRequest("the key %q is there twice", key)
		}
		seen = append(seen, key)
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil
		}
	}
}

// jsonType returns the name of the JSON type that is decoded to a type.
func jsonType(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "array"
	case reflect.Struct:
		return "object"
	}
	return "whole number"
}

// readQuery returns the query of r, which may have only the given keys, each once.
func readQuery(r *http.Request, known ...string) (url.Values, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badRequest("the query cannot be read")
	}
	for key, values := range query {
		if !slices.Contains(known, key) {
			return nil, badRequest("unknown key %q in the query", key)
		}
		if len(values) > 1 {
			return nil, badRequest("the key %q is twice in the query", key)
		}
	}
	return query, nil
}

// readNumber returns a number of a query that is not negative, or otherwise.
func readNumber(query url.Values, key string, otherwise int) (int, error) {
	if !query.Has(key) {
		return otherwise, nil
	}
	n, err := strconv.Atoi(query.Get(key))
	if err != nil || n < 0 {
		return 0, badRequest("%q is not a whole number from 0 on: %q", key, query.Get(key))
	}
	return n, nil
}

// checkNumber returns an error if n, the value of a key, is not in a range.
func checkNumber[N int | int64](key string, n *N, least, most N) error {
	switch {
	case n == nil || *n >= least && *n <= most:
		return nil
	case *n < least:
		return badRequest("the value of the key %q is less than %d", key, least)
	}
	return badRequest("the value of the key %q is more than %d", key, most)
}

func (s *Server) getStatus(w http.ResponseWriter, r *http.Request) error {
	if _, err := readQuery(r); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, s.status())
}

// maxJobs is the most tasks that may run at the same time. A guess: each takes some connections, and
// some hundred KiB.
const maxJobs = 1000

func (s *Server) patchStatus(w http.ResponseWriter, r *http.Request) error {
	if _, err := readQuery(r); err != nil {
		return err
	}
	body, err := readBody(r)
	if err != nil {
		return err
	}
	var set Settings
	if err := decode(body, &set); err != nil {
		return err
	}
	if err := cmp.Or(checkNumber("jobs", set.Jobs, 1, maxJobs), checkNumber("limit_rate", set.LimitRate, 0, maxNumber)); err != nil {
		return err
	}
	if set.Jobs != nil {
		s.queue.SetJobs(*set.Jobs)
	}
	if set.LimitRate != nil && s.options.SetLimitRate != nil {
		s.options.SetLimitRate(*set.LimitRate)
	}
	return writeJSON(w, http.StatusOK, s.status())
}

// status returns the state of the daemon.
func (s *Server) status() Status {
	sum := s.queue.Summary()
	st := Status{
		V: 1, Version: s.options.Version, Root: bytetext.Escape(s.options.Root), Jobs: s.queue.Jobs(), Rate: s.Rate(), Free: -1,
		Active: sum.Active, Waiting: sum.Waiting, Paused: sum.Paused, Ended: sum.Ended, HeldUp: bytetext.Escape(weburl.RedactText(sum.HeldUp)),
	}
	if s.options.LimitRate != nil {
		st.LimitRate = s.options.LimitRate()
	}
	if s.options.Free != nil {
		st.Free = s.options.Free()
	}
	return st
}

func (s *Server) getTasks(w http.ResponseWriter, r *http.Request) error {
	query, err := readQuery(r, "state", "offset", "limit")
	if err != nil {
		return err
	}
	offset, err := readNumber(query, "offset", 0)
	if err != nil {
		return err
	}
	limit, err := readNumber(query, "limit", math.MaxInt32)
	if err != nil {
		return err
	}
	states, err := readStates(query.Get("state"))
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if r.Method == http.MethodHead {
		return nil
	}
	total := 0
	array := arrayWriter{w: w}
	io.WriteString(w, `{"tasks":`)
	err = s.eachTask(func(t *Task) error {
		if len(states) > 0 && !slices.Contains(states, t.State) {
			return nil
		}
		if total++; total <= offset || total-offset > limit {
			return nil
		}
		return array.add(t)
	})
	if err == nil {
		array.end()
		fmt.Fprintf(w, `,"total":%d}`+"\n", total)
	}
	return nil // an error means that the client has gone
}

// readStates reads a list of states, separated by commas.
func readStates(text string) (states []queue.State, err error) {
	if text == "" {
		return nil, nil
	}
	for name := range strings.SplitSeq(text, ",") {
		state := queue.State(name)
		if !slices.Contains(allStates, state) {
			return nil, badRequest("%q is not a state", name)
		}
		states = append(states, state)
	}
	return states, nil
}

// allStates are the states that a task can have.
var allStates = []queue.State{queue.Waiting, queue.Active, queue.Paused, queue.Complete, queue.Failed, queue.Removed}

// postTasks adds a download, or an array of them: all or, if one of them is wrong, none.
func (s *Server) postTasks(w http.ResponseWriter, r *http.Request) error {
	if _, err := readQuery(r); err != nil {
		return err
	}
	body, err := readBody(r)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(strings.TrimLeft(string(body[:min(len(body), 64)]), " \t\r\n"), "[") {
		var one Addition
		if err := decode(body, &one); err != nil {
			return err
		}
		tasks, err := s.add([]Addition{one})
		if err != nil {
			return err
		}
		return writeJSON(w, http.StatusCreated, tasks[0])
	}
	var all []Addition
	if err := decode(body, &all); err != nil {
		return err
	}
	tasks, err := s.add(all)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, tasks)
}

func (s *Server) getTask(w http.ResponseWriter, r *http.Request) error {
	if _, err := readQuery(r); err != nil {
		return err
	}
	id, err := s.find(r.PathValue("id"))
	if err != nil {
		return err
	}
	return s.writeTask(w, id, true)
}

// writeTask sends a task as the answer, with or without its Detail.
func (s *Server) writeTask(w http.ResponseWriter, id store.ID, detail bool) error {
	t, err := s.queue.Task(id)
	if err != nil {
		return err
	}
	shown := s.showWithPosition(t)
	if detail {
		shown.Detail = s.detail(id)
	}
	return writeJSON(w, http.StatusOK, shown)
}

// minPrefix is the fewest digits that stand for an ID, as in the commands.
const minPrefix = 4

// find returns the ID that begins with a text.
func (s *Server) find(text string) (store.ID, error) {
	if len(text) < minPrefix {
		return "", badRequest("%q is no ID, and as the beginning of one it has less than %d digits", text, minPrefix)
	}
	id, err := s.queue.Resolve(strings.ToLower(text))
	if err != nil && !errors.Is(err, queue.ErrNotFound) {
		return "", badRequest("%v", err)
	}
	return id, err
}

func (s *Server) patchTask(w http.ResponseWriter, r *http.Request) error {
	if _, err := readQuery(r); err != nil {
		return err
	}
	id, err := s.find(r.PathValue("id"))
	if err != nil {
		return err
	}
	body, err := readBody(r)
	if err != nil {
		return err
	}
	var c Change
	if err := decode(body, &c); err != nil {
		return err
	}
	if err := s.change(id, c); err != nil {
		return err
	}
	return s.writeTask(w, id, false)
}

func (s *Server) deleteTask(w http.ResponseWriter, r *http.Request) error {
	query, err := readQuery(r, "files")
	if err != nil {
		return err
	}
	files, err := strconv.ParseBool(query.Get("files"))
	if err != nil && query.Has("files") {
		return badRequest("%q is neither true nor false: %q", "files", query.Get("files"))
	}
	id, err := s.find(r.PathValue("id"))
	if err != nil {
		return err
	}
	if err := s.durable(s.queue.Remove(files, id)); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) deleteHistory(w http.ResponseWriter, r *http.Request) error {
	if _, err := readQuery(r); err != nil {
		return err
	}
	s.queue.Forget()
	if err := s.durable(nil); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// durable returns when all changes are durable. err is an error of the change, which may have been made in part.
func (s *Server) durable(err error) error { return cmp.Or(err, s.queue.Sync()) }

func (s *Server) pauseTasks(w http.ResponseWriter, r *http.Request) error {
	return s.changeStates(w, r, stateChange{
		change: s.queue.Pause, all: []queue.State{queue.Waiting, queue.Active}, named: []queue.State{queue.Waiting, queue.Active, queue.Paused},
	})
}

func (s *Server) resumeTasks(w http.ResponseWriter, r *http.Request) error {
	return s.changeStates(w, r, stateChange{
		change: s.queue.Resume, all: []queue.State{queue.Paused}, named: []queue.State{queue.Waiting, queue.Active, queue.Paused, queue.Failed},
	})
}

// A stateChange changes the states of tasks.
type stateChange struct {
	change func(...store.ID) error
	all    []queue.State // of the tasks that are changed if none is named
	named  []queue.State // that a named task may have
}

// An idList is the body of the requests that change the states of tasks.
type idList struct {
	IDs []string `json:"ids,omitzero"`
}

// changeStates changes the tasks that the body names: all or, if one has the wrong state, none. If the body names
// none, not even an empty list, it changes all tasks for which that means something.
func (s *Server) changeStates(w http.ResponseWriter, r *http.Request, c stateChange) error {
	if _, err := readQuery(r); err != nil {
		return err
	}
	body, err := readBody(r)
	if err != nil {
		return err
	}
	var list idList
	if !isBlank(body) {
		if err := decode(body, &list); err != nil {
			return err
		}
	}
	ids, err := s.chosen(list.IDs, c)
	if err != nil {
		return err
	}
	if err := s.durable(c.change(ids...)); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	array := arrayWriter{w: w}
	io.WriteString(w, `{"tasks":`)
	positions := s.queue.Positions()
	for _, id := range ids {
		if t, err := s.queue.Task(id); err == nil {
			array.add(s.showAt(t, positions))
		}
	}
	array.end()
	io.WriteString(w, "}\n")
	return nil
}

// chosen returns the IDs of the named tasks, or, if names is nil, of all with one of the states of c.
func (s *Server) chosen(names []string, c stateChange) (ids []store.ID, err error) {
	if names == nil {
		unfinished, _ := s.queue.IDs()
		return slices.DeleteFunc(unfinished, func(id store.ID) bool {
			t, err := s.queue.Task(id)
			return err != nil || !slices.Contains(c.all, t.State)
		}), nil
	}
	for _, name := range names {
		id, err := s.find(name)
		if err != nil {
			return nil, err
		}
		t, err := s.queue.Task(id)
		if err == nil && !slices.Contains(c.named, t.State) {
			err = fmt.Errorf("%q: %w: %s", id, queue.ErrState, t.State)
		}
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// A link is the answer to POST /open.
type link struct {
	Path string `json:"path"` // opens the page once, within a minute
}

func (s *Server) postOpen(w http.ResponseWriter, r *http.Request) error {
	if _, err := readQuery(r); err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, link{s.OpenPath()})
}

func (s *Server) postStop(w http.ResponseWriter, r *http.Request) error {
	if _, err := readQuery(r); err != nil {
		return err
	}
	if s.options.Stop == nil {
		return &Error{Status: http.StatusConflict, Code: "state", Message: "the daemon cannot be stopped by a request"}
	}
	w.WriteHeader(http.StatusAccepted)
	http.NewResponseController(w).Flush()
	s.options.Stop()
	return nil
}
