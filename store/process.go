package store

import (
	"fmt"
	"os"
	"sync"
)

// A Process identifies a process of this machine until the next boot, although the number of an ended
// process may be given to another one. The zero Process is unknown.
type Process struct {
	PID int `json:"pid"`
	// Start is the boot and the time at which the process started, in a form that differs between
	// systems; "" if the system does not say it.
	Start string `json:"start"`
}

// IsAlive reports whether the process still runs. If that is unknown, it reports false.
func (p Process) IsAlive() bool {
	return p.Start != "" && startOf(p.PID) == p.Start
}

// thisProcess returns this process.
var thisProcess = sync.OnceValue(func() Process {
	return Process{os.Getpid(), startOf(os.Getpid())}
})

// startOf returns the start of the process pid, or "" if there is none or the system does not say it.
func startOf(pid int) string {
	if start := processStart(pid); start != "" {
		return fmt.Sprint(bootID(), "/", start)
	}
	return ""
}

// Holder returns the process that works on the download of rec. ok is false if none does, or if it is
// unknown which one: on systems that do not say when a process started, if an older pawl works on it,
// or if the process runs elsewhere, for example in another container.
//
// The lock of the part file shows that some process works on it; the record says which one, since every
// process that takes the lock records itself.
func (s *Store) Holder(rec Record) (p Process, ok bool) {
	latest, err := s.Get(rec.ID)
	if err != nil || !s.Running(latest) {
		return Process{}, false
	}
	return latest.Process, latest.Process.IsAlive()
}
