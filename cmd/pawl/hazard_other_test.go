//go:build !linux

package main

// Hazards of TestHazards that only Linux can make.
var linuxDisks, linuxStates, owners, space []hazard
