package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A timetable is the argument of --limit-rate: one rate for the whole day, for example
// "2M", or several rates that each hold from a time of day, for example
// "08:00=2M,18:00=off". Before the first time of a day, the last rate of the day before
// still holds. The zero value means no limit.
type timetable struct {
	entries []rateEntry // sorted by time; a single rate holds from midnight
}

// A rateEntry is a rate and the time of day from which it holds.
type rateEntry struct {
	from time.Duration // since midnight by the wall clock, in whole minutes
	rate byteRate
}

// UnmarshalText accepts the two forms of a timetable.
func (t *timetable) UnmarshalText(text []byte) error {
	if !strings.ContainsAny(string(text), "=,") { // a single rate
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

// parseRateEntry parses one entry, for example "08:00=2M".
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

// rateAt returns the rate in bytes per second at the time now, 0 for no limit. The location
// of now decides which time of day it is.
func (t timetable) rateAt(now time.Time) int64 {
	if len(t.entries) == 0 {
		return 0
	}
	clock := time.Duration(now.Hour())*time.Hour + time.Duration(now.Minute())*time.Minute
	rate := t.entries[len(t.entries)-1].rate // of yesterday, until the first entry of today
	for _, e := range t.entries {
		if e.from <= clock {
			rate = e.rate
		}
	}
	return int64(rate)
}

// follow calls set with each new rate, from its own goroutine, until stop is called. stop
// waits for the goroutine, so that set is not called afterwards. It must be called once.
func (t timetable) follow(set func(bytesPerSecond int64)) (stop func()) {
	if len(t.entries) < 2 { // the rate never changes
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

// untilNextCheck returns how long to wait until the clock must be checked again: at the next
// full or half minute. All times of a timetable are full minutes. A timer for the time of
// the next entry would be wrong after a change of daylight saving time, a suspended machine
// or a clock that was set; a check every 30 s is late by at most that.
func untilNextCheck(now time.Time) time.Duration {
	const interval = 30 * time.Second
	return interval - time.Duration(now.Second())*time.Second%interval - time.Duration(now.Nanosecond())
}
