//go:build !linux && !darwin && !dragonfly && !freebsd && !netbsd && !openbsd

package store

// bootID is unknown.
func bootID() string { return "" }

// mountID is unknown.
func mountID(string) uint64 { return 0 }
