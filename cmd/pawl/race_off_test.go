//go:build !race

package main

import "time"

const raceEnabled = false

// withSlack returns a time limit for an operation that should take at most d: half as
// much again, because the machine may be busy.
func withSlack(d time.Duration) time.Duration { return d * 3 / 2 }
