//go:build !unix

package main

// Hazards of TestHazards that only Unix can make.
var unixDisks, unixSignals []hazard
