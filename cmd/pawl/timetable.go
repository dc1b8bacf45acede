package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A timetable says which rate holds at which time of day: one for ever, as in
// "2M", or each from its time on, as in "08:00=2M,18:00=off". Before the first
// time of a day, the last rate of the day before holds. The zero value is without
// limits.
type timetable struct {
	entries []rateEntry // by time
}

type rateEntry struct {
	from time.Duration // since midnight by the clock on the wall, whole minutes
	rate byteRate
}

func (t *timetable) UnmarshalText(text []byte) error {
	if !strings.ContainsAny(string(text), "=,") {
		t.entries = make([]rateEntry, 1)
		return t.entries[0].rate.UnmarshalText(text)
	}
	var entries []rateEntry
	for field := range strings.SplitSeq(string(text), ",") {
		e, err := parseRateEntry(strings.TrimSpace(field))
		if err != nil {
			return err
		}
		if slices.ContainsFunc(entries, func(o rateEntry) bool { return o.from == e.from }) {
			return fmt.Errorf("%q has two rates for the time in %q", text, field)
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b rateEntry) int { return int(a.from - b.from) })
	t.entries = entries
	return nil
}

// parseTimed reads one entry, such as "08:00=2M".
func parseRateEntry(s string) (e rateEntry, err error) {
	clock, rate, ok := strings.Cut(s, "=")
	if !ok {
		return e, fmt.Errorf("%q is not of the form 08:00=2M", s)
	}
	at, err := time.Parse("15:04", strings.TrimSpace(clock))
	if err != nil {
		return e, fmt.Errorf("%q is not a time of day from 00:00 to 23:59", clock)
	}
	e.from = time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute
	return e, e.rate.UnmarshalText([]byte(strings.TrimSpace(rate)))
}

// at returns the rate in bytes per second that holds when the wall clock shows
// now, whose location counts.
func (t timetable) rateAt(now time.Time) int64 {
	if len(t.entries) == 0 {
		return 0
	}
	clock := time.Duration(now.Hour())*time.Hour + time.Duration(now.Minute())*time.Minute
	rate := t.entries[len(t.entries)-1].rate
	for _, e := range t.entries {
		if e.from <= clock {
			rate = e.rate
		}
	}
	return int64(rate)
}

// follow calls set when another rate comes to hold, from another goroutine, until
// stop is called, which waits for it.
func (t timetable) follow(set func(bytesPerSecond int64)) (stop func()) {
	if len(t.entries) < 2 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { // ends with stop
		defer close(done)
		for last := int64(-1); ctx.Err() == nil; {
			now := time.Now()
			if rate := t.rateAt(now); rate != last {
				set(rate)
				last = rate
			}
			select {
			case <-time.After(untilNextCheck(now)):
			case <-ctx.Done():
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// untilLook returns how long after now to look at the clock again: at each full
// and half minute. All times of a timetable are among these, and so is the end of
// daylight saving; and a machine that slept or whose clock was set is not behind
// for long.
func untilNextCheck(now time.Time) time.Duration {
	const every = 30 * time.Second
	return every - time.Duration(now.Second())*time.Second%every - time.Duration(now.Nanosecond())
}
