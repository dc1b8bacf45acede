package daemon

import "errors"

// ErrNotRunning means that no daemon of the state directory runs.
var ErrNotRunning = errors.New("no daemon is running")

// LoadSecret returns the secret of the state directory. If there is none, it makes one.
func LoadSecret(stateDir string) (string, error) { panic("not yet") }

// Find returns a client of the daemon that runs with the state directory. If there is none, the
// error is ErrNotRunning.
func Find(stateDir string) (*Client, error) { panic("not yet") }
