package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"
)

// A startTime is the argument of --start-at, by the clock of the machine. The zero value is now.
type startTime struct{ at time.Time }

// UnmarshalText accepts the forms of parseStart. An empty text is now.
func (s *startTime) UnmarshalText(text []byte) (err error) {
	if len(text) > 0 {
		s.at, err = parseStart(string(text), time.Now())
	}
	return err
}

// clockLayouts are the forms of a time of day.
var clockLayouts = []string{"15:04", "15:04:05"}

// dateLayouts are the forms of a date with a time of day, without and with a time zone, and of a
// date alone, which means its midnight.
var dateLayouts = []string{
	"2006-01-02 15:04", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02T15:04:05",
	time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04Z07:00", time.DateOnly,
}

// parseStart returns the time that text means at the time now, in the time zone of now. A time of
// day that has passed means the next day, and a date that has passed is an error, because the
// user is mistaken about the day. The result has no monotonic reading, so it is compared by the clock.
func parseStart(text string, now time.Time) (time.Time, error) {
	now = now.Round(0)
	words := strings.Fields(text)
	s := strings.Join(words, " ")
	if after, ok := strings.CutPrefix(s, "+"); ok {
		var d duration
		if err := d.UnmarshalText([]byte(strings.TrimSpace(after))); err != nil {
			return time.Time{}, fmt.Errorf("%q has no duration such as 30m or 2h after the +", text)
		}
		return now.Add(time.Duration(d)), nil
	}
	days, named := map[string]int{"today": 0, "tomorrow": 1}[strings.ToLower(strings.Join(words[:min(1, len(words))], ""))]
	if named {
		s = strings.Join(words[1:], " ")
	}
	if clock, ok := parseLayouts(s, clockLayouts, time.UTC); ok {
		on := func(days int) time.Time {
			return time.Date(now.Year(), now.Month(), now.Day()+days, clock.Hour(), clock.Minute(), clock.Second(), 0, now.Location())
		}
		at := on(days)
		if !named && !at.After(now) {
			at = on(1)
		}
		return inFuture(text, at, now)
	}
	if at, ok := parseLayouts(s, dateLayouts, now.Location()); ok && !named {
		return inFuture(text, at, now)
	}
	return time.Time{}, fmt.Errorf("%q is not a time such as 23:30, 'tomorrow 2:00', '2026-12-01 02:00', 2026-12-01T02:00:00Z or +2h", text)
}

// parseLayouts parses s by the first of the layouts that it has.
func parseLayouts(s string, layouts []string, zone *time.Location) (time.Time, bool) {
	for _, layout := range layouts {
		if t, err := time.ParseInLocation(layout, strings.ToUpper(s), zone); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// inFuture returns at, or an error if it has passed.
func inFuture(text string, at, now time.Time) (time.Time, error) {
	if at.Before(now) {
		return time.Time{}, fmt.Errorf("%q has passed; it is %s now", text, now.Format(time.DateTime))
	}
	return at, nil
}

// clockCheck is the time between two looks at the clock, which may have been set, and has continued
// while the machine was suspended. A guess: half wakes twice as often, and double starts up to 20 s
// late after a suspension.
const clockCheck = 10 * time.Second

// wait waits until the clock, which now returns, shows the time, or until skip receives. If ctx ends
// first, wait returns its cause.
func (s startTime) wait(ctx context.Context, now func() time.Time, skip <-chan os.Signal) error {
	for {
		left := s.at.Sub(now().Round(0)) // without the monotonic reading, which ignores the clock
		if left <= 0 {
			return context.Cause(ctx)
		}
		look := time.NewTimer(min(left, clockCheck))
		select {
		case <-look.C:
		case <-skip:
			return nil
		case <-ctx.Done():
			look.Stop()
			return context.Cause(ctx)
		}
	}
}

// awaitStart waits for the time of --start-at, or until hup receives. It first checks the settings
// of the network, so that the user does not learn of a mistake only at night.
func (t *Transfer) awaitStart(ctx context.Context, out *printer, hup <-chan os.Signal) error {
	if t.StartAt.at.IsZero() {
		return nil
	}
	if _, err := t.downloaderOptions(); err != nil {
		return err
	}
	if !time.Now().Before(t.StartAt.at) {
		return nil
	}
	out.note("waiting until %s, which is in %s", t.StartAt.at.Local().Format(time.DateTime), span(time.Until(t.StartAt.at).Round(time.Second)))
	return t.StartAt.wait(ctx, time.Now, hup)
}
