//go:build !linux

package main

// Hazards that only Linux can produce; see hazard_linux_test.go.
var linuxDisks, linuxStates, owners, space, homes []hazard

// refuseTempFiles does nothing: there are no files without a name.
func refuseTempFiles() {}
