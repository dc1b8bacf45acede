package transport

import (
	"fmt"
	"syscall"
)

// canBindToDevice reports whether the system permits binding a socket to the interface of this
// name. Linux permits it to everybody since version 5.7.
func canBindToDevice(name string) bool {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer syscall.Close(fd)
	return syscall.BindToDevice(fd, name) == nil
}

// bindToDevice binds the socket c to the interface of this name.
func bindToDevice(c syscall.RawConn, name string) error {
	var bindErr error
	if err := c.Control(func(fd uintptr) { bindErr = syscall.BindToDevice(int(fd), name) }); err != nil {
		return err
	}
	if bindErr != nil {
		return fmt.Errorf("interface %q: %w", name, bindErr)
	}
	return nil
}
