//go:build !linux

package transport

import (
	"errors"
	"syscall"
)

// canBindToDevice reports whether a socket can be bound to an interface. pawl does that only on
// Linux; elsewhere, connections begin at an address of the interface.
func canBindToDevice(string) bool { return false }

// bindToDevice is not called, because canBindToDevice returns false.
func bindToDevice(syscall.RawConn, string) error { return errors.ErrUnsupported }
