//go:build race

package main

import "time"

// raceEnabled: the race detector makes programs large and slow.
const raceEnabled = true

// withSlack is d, or as much more as tests have to allow for then.
func withSlack(d time.Duration) time.Duration { return 5 * d }
