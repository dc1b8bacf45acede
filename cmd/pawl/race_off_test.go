//go:build !race

package main

// raceEnabled: the race detector makes programs large and slow.
const raceEnabled = false
