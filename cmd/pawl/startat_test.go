package main

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestParseStart checks the forms of --start-at, at 2026-11-29 21:30:15 in a zone with daylight
// saving time.
func TestParseStart(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skipf("no time zones: %v", err)
	}
	now := time.Date(2026, 11, 29, 21, 30, 15, 0, berlin)
	for text, want := range map[string]string{
		"23:30":                     "2026-11-29T23:30:00+01:00",
		"21:30:16":                  "2026-11-29T21:30:16+01:00",
		"21:30":                     "2026-11-30T21:30:00+01:00", // has passed
		"2:00":                      "2026-11-30T02:00:00+01:00",
		"00:00":                     "2026-11-30T00:00:00+01:00",
		"today 23:00":               "2026-11-29T23:00:00+01:00",
		"tomorrow 2:00":             "2026-11-30T02:00:00+01:00",
		" Tomorrow   23:30:30 ":     "2026-11-30T23:30:30+01:00",
		"2026-12-01 02:00":          "2026-12-01T02:00:00+01:00",
		"2026-12-01 2:00:07":        "2026-12-01T02:00:07+01:00",
		"2026-12-01T02:00":          "2026-12-01T02:00:00+01:00",
		"2026-12-01":                "2026-12-01T00:00:00+01:00",
		"2027-07-01 02:00":          "2027-07-01T02:00:00+02:00",
		"2026-12-01T02:00:00Z":      "2026-12-01T03:00:00+01:00",
		"2026-12-01t02:00:00z":      "2026-12-01T03:00:00+01:00",
		"2026-12-01T02:00:00-05:00": "2026-12-01T08:00:00+01:00",
		"2026-12-01 02:00+09:00":    "2026-11-30T18:00:00+01:00",
		"+2h":                       "2026-11-29T23:30:15+01:00",
		"+1h30m":                    "2026-11-29T23:00:15+01:00",
		"+ 90":                      "2026-11-29T21:31:45+01:00",
		"+0":                        "2026-11-29T21:30:15+01:00",
	} {
		got, err := parseStart(text, now)
		if err != nil || got.In(berlin).Format(time.RFC3339) != want {
			t.Errorf("%q: got %s, %v, want %s", text, got.Format(time.RFC3339), err, want)
		}
	}
	for _, text := range []string{
		"", " ", "now-ish", "2h", "25:00", "23:60", "23", "tomorrow", "tomorrow 2026-12-01 02:00", "yesterday 2:00", "today 21:30", "today 2:00", "2026-11-29 21:30",
		"2026-11-29", "2020-01-01T00:00:00Z", "2026-13-01 02:00", "2026-02-30 02:00", "+", "+x", "+-2h", "-2h", "2026-12-01 25:00",
	} {
		if got, err := parseStart(text, now); err == nil {
			t.Errorf("%q: got %s, want an error", text, got)
		}
	}
	// The clock is put forward on this night, and then the time of day comes 23 hours later.
	spring := time.Date(2027, 3, 27, 12, 0, 0, 0, berlin)
	if got, err := parseStart("11:00", spring); err != nil || got.Sub(spring) != 22*time.Hour {
		t.Errorf("got %s, %v", got, err)
	}
}

// A shiftedClock is a clock that is set, or that goes on while the machine is suspended, in which
// time no timer runs.
type shiftedClock struct{ by atomic.Int64 } // a time.Duration

func (c *shiftedClock) now() time.Time { return time.Now().Add(time.Duration(c.by.Load())) }

// TestStartWait checks that the wait ends when the clock shows the time, also if the clock is set or
// the machine was suspended meanwhile.
func TestStartWait(t *testing.T) {
	for _, tt := range []struct {
		name  string
		wait  time.Duration // by the clock
		shift time.Duration // after a minute
		least time.Duration // that the wait takes by the timers
	}{
		{"nothing happens", 8 * time.Hour, 0, 8 * time.Hour},
		{"a short wait", time.Second, 0, time.Second},
		{"none", -time.Second, 0, 0},
		{"suspended beyond the time", 8 * time.Hour, 24 * time.Hour, time.Minute},
		{"suspended for a while", 8 * time.Hour, 3 * time.Hour, 5 * time.Hour},
		{"the clock is put back", 8 * time.Hour, -time.Hour, 9 * time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := new(shiftedClock)
				s := startTime{c.now().Round(0).Add(tt.wait)}
				time.AfterFunc(time.Minute-time.Millisecond, func() { c.by.Store(int64(tt.shift)) })
				begun := time.Now()
				if err := s.wait(t.Context(), c.now, nil); err != nil {
					t.Error(err)
				}
				if took := time.Since(begun); took < tt.least || took > tt.least+clockCheck {
					t.Errorf("the wait took %v, want %v", took, tt.least)
				}
				time.Sleep(time.Minute) // for the shift
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		s := startTime{time.Now().Round(0).Add(time.Hour)}
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(signalError{syscall.SIGINT}) })
		if err := s.wait(ctx, time.Now, nil); exitCode(err) != 130 || !errors.Is(err, signalError{syscall.SIGINT}) {
			t.Errorf("interrupted: got %v", err)
		}
		hup := make(chan os.Signal, 1)
		time.AfterFunc(time.Second, func() { hup <- syscall.SIGHUP })
		begun := time.Now()
		if err := s.wait(t.Context(), time.Now, hup); err != nil || time.Since(begun) != time.Second {
			t.Errorf("SIGHUP: got %v after %v", err, time.Since(begun))
		}
	})
}
