package sched

import (
	"math"
	"testing"
	"time"
)

// TestRate: bytes per window, half of it history.
func TestRate(t *testing.T) {
	var m meter
	now := epoch
	m.restart(now)
	for i, step := range []struct {
		after time.Duration
		n     int
		want  float64 // of the windows
	}{
		{249 * ms, 25_000, 0}, // too short
		{ms, 25_000, 200e3},
		{500 * ms, 200_000, 300e3},
		{50 * ms, 500_000, 300e3},
		{950 * ms, 0, 400e3},
		{250 * ms, 250_000, 1e6}, // more than twice as fast: believed at once
		{250 * ms, 100_000, 400e3},
	} {
		now = now.Add(step.after)
		if m.add(step.n, now); math.Abs(m.rate-step.want) > 1 {
			t.Errorf("step %d: got %.0f, want %.0f", i, m.rate, step.want)
		}
	}
}

// TestRateAt: within a window, a rate counts if it is clearly another one, and that of a new
// connection after some round trips.
func TestRateAt(t *testing.T) {
	for _, tt := range []struct {
		name   string
		rate   float64 // of the window before; 0 for none
		bytes  int
		after  time.Duration
		rtt    time.Duration
		want   float64
		wanted float64 // of earlyRate
	}{
		{"new", 0, 10_000, 100 * ms, 0, 0, 100e3},
		{"too new for any", 0, 10_000, 10 * ms, 0, 0, 0},
		{"not so new", 0, 10_100, 101 * ms, 0, 100e3, 100e3},
		{"far away", 0, 10_100, 101 * ms, 50 * ms, 0, 100e3},
		{"far away, later", 0, 20_100, 201 * ms, 50 * ms, 100e3, 100e3},
		{"as before", 100e3, 22_500, 150 * ms, 0, 100e3, 100e3},
		{"much faster", 100e3, 45_000, 150 * ms, 0, 300e3, 300e3},
		{"much faster, just now", 100e3, 45_000, 125 * ms, 0, 100e3, 100e3},
		{"silent", 100e3, 0, time.Hour, 0, 100e3, 100e3},
	} {
		var m meter
		m.restart(epoch)
		if tt.rate > 0 {
			m.add(int(tt.rate*rateWindow.Seconds()), epoch.Add(rateWindow))
		}
		m.restart(epoch)
		m.add(tt.bytes, epoch.Add(tt.after))
		now := epoch.Add(tt.after)
		if got := m.rateAt(now, tt.rtt); math.Abs(got-tt.want) > 1 && tt.bytes > 0 {
			t.Errorf("%s: got %.0f, want %.0f", tt.name, got, tt.want)
		}
		if got := m.earlyRate(now, now, tt.rtt); math.Abs(got-tt.wanted) > 1 && tt.bytes > 0 {
			t.Errorf("%s: got early rate %.0f, want %.0f", tt.name, got, tt.wanted)
		}
	}
}

// TestTrickle: a connection trickles from the begin of its first window below minRate.
func TestTrickle(t *testing.T) {
	var m meter
	now := epoch
	m.restart(now)
	read := func(n int) {
		now = now.Add(rateWindow)
		m.add(n, now)
	}
	if read(int(mB)); !m.tricklingSince.IsZero() {
		t.Error("a fast connection trickles")
	}
	since := now
	read(minRate/4 - 1)
	if read(100); !m.tricklingSince.Equal(since) {
		t.Errorf("trickles since %v, want %v", m.tricklingSince, since)
	}
	if read(minRate); !m.tricklingSince.IsZero() {
		t.Error("it still trickles though its rate is good again")
	}
}
