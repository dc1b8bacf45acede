//go:build race

package main

import "time"

// raceEnabled: the race detector makes programs large and slow.
const raceEnabled = true

// soon is d, or as much more as tests have to allow for then.
func soon(d time.Duration) time.Duration { return 5 * d }
