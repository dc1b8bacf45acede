//go:build !race

package list

// raceEnabled is true if the tests run under the race detector, which multiplies the time of
// tests that read large lists to measure memory. A reader has one goroutine.
const raceEnabled = false
