//go:build race

package main

import "time"

// raceEnabled is true if the tests run under the race detector, which makes programs use
// more memory and more time.
const raceEnabled = true

// withSlack returns a time limit for an operation that should take at most d: five times
// as much, because of the race detector.
func withSlack(d time.Duration) time.Duration { return 5 * d }
