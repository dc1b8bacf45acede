//go:build !unix

package main

// Hazards that only Unix can produce; see hazard_unix_test.go.
var unixDisks, unixSignals []hazard
