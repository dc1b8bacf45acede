//go:build !race

package main

import "time"

const raceEnabled = false

// soon is d, and half as much again for a machine that is busy.
func withSlack(d time.Duration) time.Duration { return d * 3 / 2 }
