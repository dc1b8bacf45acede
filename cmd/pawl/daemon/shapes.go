package daemon

import (
	"path/filepath"
	"time"

	"pawl/downloader"
	"pawl/downloader/queue"
	"pawl/store"
)

// This file has the JSON shapes of the API, which are an interface for programs: pawl help api.

// A Status is the state of the daemon.
type Status struct {
	V         int    `json:"v"` // format version
	Version   string `json:"version"`
	Root      string `json:"root"`       // absolute; all files are below it
	Jobs      int    `json:"jobs"`       // tasks that run at the same time
	LimitRate int64  `json:"limit_rate"` // of all tasks together, in bytes per second; 0 for none
	Rate      int64  `json:"rate"`       // of all tasks together, in bytes per second
	Active    int    `json:"active"`     // how many tasks
	Waiting   int    `json:"waiting"`
	Paused    int    `json:"paused"`
	Ended     int    `json:"ended"`
	Free      int64  `json:"free"`              // bytes that may be written below Root; -1 if unknown
	HeldUp    string `json:"held_up,omitempty"` // why nothing starts
}

// Settings are changes of the daemon's settings. A nil field leaves its setting as it is.
type Settings struct {
	Jobs      *int   `json:"jobs,omitempty"`
	LimitRate *int64 `json:"limit_rate,omitempty"` // bytes per second; 0 for none
}

// A Task is a task of the queue. The first keys are the same as in pawl list --json.
type Task struct {
	V       int         `json:"v"`  // format version
	ID      store.ID    `json:"id"` // also of the record
	State   queue.State `json:"state"`
	URL     string      `json:"url"`  // without user and password; "" for a list without URL
	Path    string      `json:"path"` // absolute; "" if unknown
	Size    int64       `json:"size"` // bytes; -1 if unknown
	Held    int64       `json:"held"` // bytes that are here
	Rate    int64       `json:"rate,omitempty"`
	Reason  string      `json:"reason,omitempty"` // why it failed, or waits
	Created time.Time   `json:"created"`
	Updated time.Time   `json:"updated"`

	List        bool         `json:"list,omitempty"`
	URLs        []string     `json:"urls,omitempty"` // without users and passwords
	Dir         string       `json:"dir"`            // absolute
	Name        string       `json:"name,omitempty"`
	Position    *int         `json:"position,omitempty"` // among the unfinished tasks that do not run; nil for others
	Conns       int          `json:"conns,omitempty"`
	LimitRate   int64        `json:"limit_rate,omitempty"`  // bytes per second
	Connections int          `json:"connections,omitempty"` // most connections
	Added       time.Time    `json:"added"`
	Ended       time.Time    `json:"ended,omitzero"`
	Proof       string       `json:"proof,omitempty"` // how a complete file was proved
	Exit        int          `json:"exit,omitempty"`  // exit code that the failure would have
	Lost        []string     `json:"lost,omitempty"`  // names of header fields, and "user", that a restart has lost
	Files       *queue.Files `json:"files,omitempty"` // of a list
	Detail      *Detail      `json:"detail,omitempty"`
}

// FilePath returns the path of the file, or the directory of a list. As long as the server has not named the file,
// it is a guess from the URL.
func (t *Task) FilePath() string {
	known := queue.Task{Path: t.Path, Spec: queue.Spec{List: t.List, Dir: t.Dir, Name: t.Name}}
	if path := known.KnownPath(); path != "" {
		return path
	}
	return filepath.Join(t.Dir, downloader.FilenameFromURL(t.URL))
}

// A Detail is sent only in a response about one task.
type Detail struct {
	Ranges  [][2]int64 `json:"ranges"`            // held bytes: first, and the one after the last
	Sources []Source   `json:"sources,omitempty"` // while it runs
	Waiting *Pause     `json:"waiting,omitempty"` // why no byte arrives
}

// A Source is a URL that the bytes of a task come from.
type Source struct {
	URL      string `json:"url"` // without user and password
	Conns    int    `json:"conns"`
	Received int64  `json:"received"`        // bytes
	Error    string `json:"error,omitempty"` // why it is not used
}

// A Pause is why no byte of a task arrives.
type Pause struct {
	Why   string    `json:"why"`
	Until time.Time `json:"until,omitzero"` // zero if unknown
}

// An Addition is a download, or a list of downloads, that is added.
type Addition struct {
	Record store.ID `json:"record,omitempty"` // an unfinished download of the state file; then only Paused counts

	URLs        []string `json:"urls,omitempty"` // of one file, the mirrors last; of a list, one
	List        bool     `json:"list,omitempty"`
	Text        string   `json:"text,omitempty"`        // a list, instead of its URL
	Dir         string   `json:"dir,omitempty"`         // below the root, or absolute
	Name        string   `json:"name,omitempty"`        // of the file, below Dir
	Checksum    string   `json:"checksum,omitempty"`    // for example "sha256:…"
	LimitRate   int64    `json:"limit_rate,omitempty"`  // bytes per second
	Connections int      `json:"connections,omitempty"` // most connections
	Header      []string `json:"header,omitempty"`      // "Name: value"
	UserAgent   string   `json:"user_agent,omitempty"`
	Referer     string   `json:"referer,omitempty"`
	User        string   `json:"user,omitempty"` // "USER:PASSWORD"
	Overwrite   bool     `json:"overwrite,omitempty"`
	Paused      bool     `json:"paused,omitempty"`
	Position    *int     `json:"position,omitempty"` // nil for the end
}

// A Change changes a task. A nil field leaves its setting as it is.
type Change struct {
	State       queue.State `json:"state,omitempty"` // paused or waiting
	Position    *int        `json:"position,omitempty"`
	URLs        []string    `json:"urls,omitzero"`
	LimitRate   *int64      `json:"limit_rate,omitempty"`
	Connections *int        `json:"connections,omitempty"`
	Header      []string    `json:"header,omitzero"` // replaces all
	UserAgent   *string     `json:"user_agent,omitempty"`
	Referer     *string     `json:"referer,omitempty"`
	User        *string     `json:"user,omitempty"`
}

// An Event is a message of GET /events. Its kind says which fields it has: all but "hello" and "progress"
// have Time and Task.
type Event struct {
	Event  string    `json:"event"` // hello, progress, or a queue.Kind
	Time   time.Time `json:"time,omitzero"`
	Task   *Task     `json:"task,omitempty"`
	Tasks  []Task    `json:"tasks,omitempty"`  // hello: all; progress: only ID, Held, Size, Rate, Conns and Files
	Status *Status   `json:"status,omitempty"` // hello
	Rate   int64     `json:"rate,omitempty"`   // progress: of all tasks
}

// An Error is the error of a request, as the API reports it.
type Error struct {
	Status  int    `json:"-"` // of HTTP
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }
