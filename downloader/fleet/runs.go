package fleet

import "time"

// A Run is one list, or several, that a fleet fetches. It is the value of a key of the bucket
// PAWL_RUNS; the key is its ID.
type Run struct {
	Version int       `json:"v"`
	ID      string    `json:"-"`
	Lists   []string  `json:"lists"` // their names, without passwords
	Dir     string    `json:"dir"`   // of the submitter
	Created time.Time `json:"created"`
	State   RunState  `json:"state"`

	Control Control `json:"control"`
	Now     bool    `json:"now,omitempty"`    // Paused interrupts what is being fetched
	Reason  string  `json:"reason,omitempty"` // of the Control, for people

	Target   string     `json:"target,omitempty"` // ID in the file .pawl-target of a shared directory; "" for local disks
	Settings Settings   `json:"settings"`
	Limits   HostLimits `json:"limits,omitempty"`
}

// A RunState says how far the submitter of a run has come.
type RunState string

// The states of a Run.
const (
	Submitting RunState = "submitting" // the lists are being read
	Submitted  RunState = "submitted"  // everything is queued
	Complete   RunState = "complete"   // everything has ended, and was reported
)

// A Control is what workers must do with a run.
type Control string

// The values of Run.Control.
const (
	Running   Control = "running"
	Paused    Control = "paused"    // start nothing
	Cancelled Control = "cancelled" // interrupt everything, and drop what is queued
)

// Settings are the options of a run that its workers apply.
type Settings struct {
	Update    bool          `json:"update,omitempty"`
	Rounds    int           `json:"rounds"`
	RoundWait time.Duration `json:"round_wait"`
}
