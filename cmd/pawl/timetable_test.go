package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestTimetable(t *testing.T) {
	tests := []struct {
		text string
		want map[string]int64 // rate by time of day
	}{
		{"2M", map[string]int64{"00:00:00": 2 << 20, "23:59:59": 2 << 20}},
		{"off", map[string]int64{"12:00:00": 0}},
		{"08:00=2M,18:00=off", map[string]int64{"00:00:00": 0, "07:59:59": 0, "08:00:00": 2 << 20, "17:59:59": 2 << 20, "18:00:00": 0, "23:59:59": 0}},
		{" 18:30 = 1K , 8:05=2K,00:00=3K", map[string]int64{"00:00:00": 3 << 10, "08:04:59": 3 << 10, "08:05:00": 2 << 10, "18:29:59": 2 << 10, "18:30:00": 1 << 10}},
		{"08:00=500", map[string]int64{"00:00:00": 500, "07:59:59": 500, "08:00:00": 500}},
	}
	for _, tt := range tests {
		var table timetable
		if err := table.UnmarshalText([]byte(tt.text)); err != nil {
			t.Errorf("%q: %v", tt.text, err)
		}
		for clock, want := range tt.want {
			now, err := time.Parse(time.TimeOnly, clock)
			if err != nil {
				t.Fatal(err)
			}
			if got := table.rateAt(now); got != want {
				t.Errorf("%q at %s: got %d, want %d", tt.text, clock, got, want)
			}
		}
	}
	if got := (timetable{}).rateAt(time.Now()); got != 0 {
		t.Errorf("without a table: got %d, want 0", got)
	}
}

func TestTimetableErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                  `"" is not a rate`,
		"fast":              `"fast" is not a rate`,
		"25:00=1M":          `"25:00" is not a time of day`,
		"24:00=1M":          `"24:00" is not a time of day`,
		"08:60=1M":          `"08:60" is not a time of day`,
		"8=1M":              `"8" is not a time of day`,
		"08:00:30=1M":       `"08:00:30" is not a time of day`,
		"-1:00=1M":          `"-1:00" is not a time of day`,
		"=1M":               `"" is not a time of day`,
		"08:00=":            `"" is not a rate`,
		"08:00=fast":        `"fast" is not a rate`,
		"08:00=1M=2M":       `"1M=2M" is not a rate`,
		"1M,18:00=off":      `"1M" is not of the form 08:00=2M`,
		"08:00=1M,":         `"" is not of the form 08:00=2M`,
		"08:00=1M,8:00=off": `two rates for the time in "8:00=off"`,
	} {
		var table timetable
		if err := table.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got error %v, want %s", text, err, want)
		}
	}
}

func FuzzTimetable(f *testing.F) {
	for _, s := range []string{"2M", "08:00=2M,18:00=off", "25:00=1", "0:0=1,", "=,="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var table timetable
		if table.UnmarshalText([]byte(s)) != nil {
			return
		}
		if !slices.IsSortedFunc(table.entries, func(a, b rateEntry) int { return int(a.from - b.from) }) || len(table.entries) == 0 {
			t.Errorf("%q: got %v", s, table.entries)
		}
		for _, e := range table.entries {
			if got := table.rateAt(time.Time{}.Add(e.from)); e.from < 0 || e.from >= 24*time.Hour || e.rate < 0 || got != int64(e.rate) {
				t.Errorf("%q at %v: got %d, want %d", s, e.from, got, e.rate)
			}
		}
	})
}

// TestTimetableDaylight checks that local time decides, also on the days on which daylight
// saving time skips or repeats an hour.
func TestTimetableDaylight(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip(err)
	}
	var table timetable
	if err := table.UnmarshalText([]byte("02:30=1,03:00=2")); err != nil {
		t.Fatal(err)
	}
	for utc, want := range map[string]int64{
		"2026-03-29T00:59:59Z": 2, // 01:59:59
		"2026-03-29T01:00:00Z": 2, // 03:00
		"2026-10-25T00:30:00Z": 1, // 02:30
		"2026-10-25T01:00:00Z": 2, // 02:00 again
		"2026-10-25T01:30:00Z": 1,
		"2026-10-25T02:00:00Z": 2, // 03:00
	} {
		now, err := time.Parse(time.RFC3339, utc)
		if err != nil {
			t.Fatal(err)
		}
		if got := table.rateAt(now.In(berlin)); got != want {
			t.Errorf("%s, %v: got %d, want %d", utc, now.In(berlin), got, want)
		}
	}
}

// TestTimetableFollow checks that each rate is set exactly on the minute, and that the same
// rate is not set twice in a row.
func TestTimetableFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(1234567 * time.Microsecond) // not on the minute
		begun := time.Now()
		minute := begun.Truncate(time.Minute)
		var table timetable
		text := fmt.Sprintf("%s=100,%s=200,%s=200", minute.Add(2*time.Minute).Format("15:04"), minute.Add(5*time.Minute).Format("15:04"), minute.Add(6*time.Minute).Format("15:04"))
		if err := table.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		var set []string
		stop := table.follow(func(rate int64) { set = append(set, fmt.Sprint(rate, " at ", time.Since(minute))) })
		time.Sleep(25 * time.Hour)
		stop()
		n := len(set)
		time.Sleep(25 * time.Hour)
		begin := begun.Sub(minute)
		want := []string{fmt.Sprint("200 at ", begin), "100 at 2m0s", "200 at 5m0s", "100 at 24h2m0s", "200 at 24h5m0s"}
		if !slices.Equal(set, want) || n != len(set) {
			t.Errorf("got %q, want %q", set, want)
		}
	})
}

// TestTimetableStopWaits checks that stop waits for a running callback, and that no rate is
// set after it.
func TestTimetableStopWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var table timetable
		if err := table.UnmarshalText([]byte("08:00=1,09:00=2")); err != nil {
			t.Fatal(err)
		}
		ended := false
		stop := table.follow(func(int64) {
			time.Sleep(2 * time.Second)
			ended = true
		})
		time.Sleep(time.Second)
		if stop(); !ended {
			t.Error("stop did not wait")
		}
		time.Sleep(2 * time.Second)
	})
}

// TestTimetableWakesWithin30s checks that the timetable looks at the clock at least every
// 30 s, so that it notices a changed clock.
func TestTimetableWakesWithin30s(t *testing.T) {
	midnight := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for after, want := range map[time.Duration]time.Duration{
		0: 30 * time.Second, 1: 30*time.Second - 1, 30*time.Second - 1: 1, 30 * time.Second: 30 * time.Second, 59*time.Second + 5e8: 5e8,
	} {
		if got := untilNextCheck(midnight.Add(after)); got != want {
			t.Errorf("%v after midnight: got %v, want %v", after, got, want)
		}
	}
}
