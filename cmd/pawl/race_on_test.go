//go:build race

package main

// raceEnabled is true if the tests run under the race detector, which makes programs use
// more memory and more time.
const raceEnabled = true
