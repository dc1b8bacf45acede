package store

import (
	"errors"
	"fmt"
)

var (
	errInjected = errors.New("injected failure")
	errDown     = errors.New("the power is off")
	errPowerCut = errors.New("power cut") // what a crashFS panics with
)

// A trap is sprung by the nth operation, counted from 1, of those named op, or
// of all when op is empty. The zero value never is.
type trap struct {
	op   string
	n    int
	does string // "fail", or cut the power "before" or "after" the operation

	seen int
	last string // name of the operation that has sprung it
}

func (t *trap) sprungBy(op string) bool {
	if t.op != "" && t.op != op {
		return false
	}
	if t.seen++; t.seen != t.n {
		return false
	}
	t.last = op
	return true
}

func (t *trap) String() string {
	return fmt.Sprintf("%s operation %d (%s)", t.does, t.n, t.last)
}

// crashes calls f and reports whether the power failed in it.
func crashes(f func()) (crashed bool) {
	defer func() {
		if p := recover(); p == errPowerCut {
			crashed = true
		} else if p != nil {
			panic(p)
		}
	}()
	f()
	return false
}

// step does an operation, unless the trap is sprung by it. half is what the
// operation does when it fails, nil if that is nothing.
func (c *crashFS) step(op string, do func() error, half func()) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down {
		return errDown // deferred calls while the panic unwinds
	}
	if !c.trap.sprungBy(op) {
		if err := c.lacks[op]; err != nil && op != "lock" { // which makes the file all the same
			return err
		}
		return do()
	}
	if c.trap.does == "fail" {
		if half != nil {
			half()
		}
		return fmt.Errorf("%s: %w", op, errInjected)
	}
	if c.trap.does == "after" {
		do()
	}
	c.down = true
	panic(errPowerCut)
}

var errPanicked = errors.New("panicked")

// panicking returns what f returns, or errPanicked.
func panicking(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errPanicked, p)
		}
	}()
	return f()
}
