package queue

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"time"

	"pawl/chunk"
	"pawl/downloader"
	"pawl/downloader/weburl"
	"pawl/store"
)

// A State is the state of a task. The values are an interface for programs.
type State string

// The states of a task.
const (
	Waiting  State = "waiting"  // runs when its turn comes
	Active   State = "active"   // runs
	Paused   State = "paused"   // by the user, until Resume
	Complete State = "complete" // the file is there
	Failed   State = "error"    // Task.Reason says why
	Removed  State = "removed"  // by the user
)

// Ended reports whether a task with this state belongs to the history.
func (s State) Ended() bool { return s == Complete || s == Failed || s == Removed }

// A Spec has the URLs of a task, the place of its file, and the settings of its download.
type Spec struct {
	// URLs are the URLs of the file: the first one, and mirrors of it. A list has one, or none if Text is set.
	// Users and passwords in them are kept in memory only.
	URLs []string `json:"urls,omitempty"`
	// List says that the URL, or Text, is a list of files, which are downloaded below Dir.
	List bool `json:"list,omitempty"`
	// Text is a list that the user has sent; nil for none.
	Text []byte `json:"text,omitempty"`

	Dir  string    `json:"dir"`            // absolute
	Name string    `json:"name,omitempty"` // of the file, below Dir; "" for the name by the server or the URL
	Sum  chunk.Sum `json:"sum,omitzero"`   // digest that the file must have; zero for none

	LimitRate   int64  `json:"limit_rate,omitempty"`  // bytes per second; 0 for none
	Connections int    `json:"connections,omitempty"` // most connections; 0 for no limit of its own
	UserAgent   string `json:"-"`                     // "" for the default of the queue; kept in memory only, as Header
	Referer     string `json:"-"`                     // kept in memory only

	Existing downloader.Existing `json:"existing,omitzero"`

	// Header are further header fields. They are kept in memory only.
	Header http.Header `json:"-"`
	// User is a user and a password for the origins of URLs; nil for none. It is kept in memory only.
	User *url.Userinfo `json:"-"`

	// ChosenID is the ID that Add gives to a new task; "" for a random one. It is ignored for a download that
	// has an ID already. No other Spec of the call may have it.
	ChosenID store.ID `json:"-"`
}

// URL returns the first URL without user and password, "" if there is none.
func (s *Spec) URL() string {
	if len(s.URLs) == 0 {
		return ""
	}
	return weburl.WithoutUser(s.URLs[0])
}

// secrets returns the names of the secrets, which are kept in memory only: of header fields, and "user".
func (s *Spec) secrets() (names []string) {
	for name := range s.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	if s.User != nil || slices.ContainsFunc(s.URLs, func(u string) bool { return weburl.WithoutUser(u) != u }) {
		names = append(names, "user")
	}
	return names
}

// memoryOnly returns the names of all that is kept in memory only: secrets, and the header fields that have
// a field of their own.
func (s *Spec) memoryOnly() []string {
	names := s.secrets()
	if s.Referer != "" {
		names = append(names, "Referer")
	}
	if s.UserAgent != "" {
		names = append(names, "User-Agent")
	}
	return names
}

// A Task is an entry of the queue as it is at one moment.
type Task struct {
	ID    store.ID `json:"id"` // also of the record of a download that the task begins
	State State    `json:"state"`
	Spec
	// Lost are the names of the settings that were kept in memory only, and that a restart has lost: of header
	// fields, and "user".
	Lost []string `json:"lost,omitempty"`

	Added   time.Time `json:"added"`
	Updated time.Time `json:"updated"`        // when the queue has changed it, which the bytes do not
	Ended   time.Time `json:"ended,omitzero"` // zero while it has not ended

	Record store.ID         `json:"record,omitempty"` // the download in the state file, "" if there is none yet
	Path   string           `json:"path,omitempty"`   // absolute; "" if unknown
	Size   int64            `json:"size"`             // bytes; -1 if unknown
	Held   int64            `json:"held"`             // bytes that are here
	Proof  downloader.Proof `json:"proof,omitempty"`  // of a complete file
	Reason string           `json:"reason,omitempty"` // why it failed, or why it waits although there is room
	Exit   int              `json:"exit,omitempty"`   // from Options.ExitCode, for the failure
	Files  Files            `json:"files,omitzero"`   // of a list

	// Progress is the progress of the running download. It is zero if the task does not run.
	Progress downloader.Progress `json:"-"`
}

// KnownPath returns the path of the file, or the directory of a list; "" if the server has still to name the file.
func (t *Task) KnownPath() string {
	switch {
	case t.Path != "":
		return t.Path
	case t.List:
		return t.Dir
	case t.Name != "":
		return filepath.Join(t.Dir, t.Name)
	}
	return ""
}

// Files counts the files of a list.
type Files struct {
	Listed  int  `json:"listed"`  // so far
	Here    int  `json:"here"`    // complete, whether by this run or an earlier one
	Failed  int  `json:"failed"`  // so far
	Problem int  `json:"problem"` // lines of the list that cannot be understood
	Read    bool `json:"read"`    // the list was read to its end

	*Trouble // nil if there is none
}

// A Trouble says more about the first ones of Files.Failed and Files.Problem. RunList bounds it, because it
// is stored with the task. It must not be changed once it is reported.
type Trouble struct {
	Failures []FailedFile `json:"failures,omitempty"`
	Problems []string     `json:"problems,omitempty"`
}

// A FailedFile is a file of a list that is not here.
type FailedFile struct {
	URL    string `json:"url"` // without user and password
	Path   string `json:"path,omitempty"`
	Reason string `json:"reason"`
}

// taskVersion is the version of the stored form.
const taskVersion = 1

// A storedTask is the form in the state file.
type storedTask struct {
	V int `json:"v"`
	Task
	Rank    int64    `json:"rank"`
	Secrets []string `json:"secrets,omitempty"` // names, as in Task.Lost
	Delete  bool     `json:"delete,omitempty"`  // the files of the removed task are still to be deleted
}

// encode returns the stored form of e.
func (e *entry) encode() []byte {
	t := e.Task
	if t.State == Active {
		t.State = Waiting // the process that is killed cannot say that it runs no more
	}
	t.URLs = slices.Clone(t.URLs)
	for i, u := range t.URLs {
		t.URLs[i] = weburl.WithoutUser(u)
	}
	data, err := json.Marshal(storedTask{V: taskVersion, Task: t, Rank: e.rank, Secrets: append(e.memoryOnly(), e.Lost...), Delete: e.removal != notRemoved})
	if err != nil {
		panic(fmt.Sprintf("queue: %v", err)) // all fields can be encoded
	}
	return data
}

// decodeEntry reads the output of encode.
func decodeEntry(data []byte) (*entry, error) {
	var s storedTask
	switch err := json.Unmarshal(data, &s); {
	case err != nil:
		return nil, err
	case s.V > taskVersion:
		return nil, store.ErrNewer
	case s.ID == "" || s.State == "":
		return nil, fmt.Errorf("no ID or state")
	}
	s.Lost = s.Secrets
	e := &entry{Task: s.Task, rank: s.Rank, saved: true}
	if s.Delete {
		e.removal = thenForget
	}
	return e, nil
}
