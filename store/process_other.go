//go:build !linux && !darwin

package store

// processStart is unknown.
func processStart(int) string { return "" }
