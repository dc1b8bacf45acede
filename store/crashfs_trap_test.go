package store

import (
	"errors"
	"fmt"
)

var (
	errInjected = errors.New("injected failure")
	errDown     = errors.New("the power is off")
	errPowerCut = errors.New("power cut") // value of the panic of a crashFS
)

// A trap is sprung by the nth operation with the name op, counted from 1, or by the nth
// operation of any name if op is empty. The zero value is never sprung.
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

// step runs an operation, unless it springs the trap. half is the partial effect of an
// operation that fails; nil for none.
func (c *crashFS) step(op string, do func() error, half func()) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down {
		return errDown // for deferred calls while the panic unwinds
	}
	if !c.trap.sprungBy(op) {
		if err := c.lacks[op]; err != nil && op != "lock" { // Lock creates the file even if it cannot lock it
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

// panicking returns the result of f, or errPanicked.
func panicking(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errPanicked, p)
		}
	}()
	return f()
}
