package main

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// TestMeter checks that the rate is the average of the last seconds, and that it is never
// negative when bytes were taken back.
func TestMeter(t *testing.T) {
	var m rateMeter
	now := time.Unix(1e9, 0)
	have := int64(50 << 30) // bytes of an earlier run must not count
	if r := m.sample(now, have); r != 0 {
		t.Errorf("first sample: got %v, want 0", r)
	}
	for range 100 {
		now, have = now.Add(200*time.Millisecond), have+1<<20
		m.sample(now, have)
	}
	now = now.Add(200 * time.Millisecond)
	if r := m.sample(now, have+1<<20); r < 4.9*(1<<20) || r > 5.1*(1<<20) {
		t.Errorf("steady: got %v, want 5 MiB/s", r)
	}
	if r := m.sample(now.Add(time.Second), 10); r != 0 {
		t.Errorf("taken back: got %v, want 0", r)
	}
}

func TestViewText(t *testing.T) {
	tests := []struct {
		view progressView
		want string
	}{
		{progressView{have: 0, total: 100, conns: 1}, "0 B/100 B, 1 connection"},
		{progressView{have: 1 << 20, total: 11 << 20, rate: 1 << 20, conns: 2}, "1.0 MiB/11.0 MiB, 1.0 MiB/s, eta 10s, 2 connections"},
		{progressView{have: 1 << 20, total: -1, rate: 1 << 20, conns: 1}, "1.0 MiB, 1.0 MiB/s, 1 connection"},
		{progressView{have: 100, total: 100, rate: 1 << 20}, "100 B/100 B, 1.0 MiB/s, 0 connections"},
		{progressView{have: 50, total: 100, rate: 1 << 20, conns: -1}, "50 B/100 B, 1.0 MiB/s, eta 0s"},
		{progressView{have: 50, total: -1, conns: 2, retries: 3}, "50 B, 2 connections, 3 retries"},
	}
	for _, tt := range tests {
		if got := tt.view.text(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestViewTitle(t *testing.T) {
	tests := []struct {
		view progressView
		want string
	}{
		{progressView{name: "a", files: 1, done: 1}, "a"},
		{progressView{name: "a", files: 3, done: 1}, "1 of 3 files"},
		{progressView{files: 9, done: 5, failed: 1, before: 2}, "5 of 9 files, 1 failed, 2 already here"},
		{progressView{more: true}, "reading the lists"},
		{progressView{files: 1, more: true}, "0 of 1 files so far"},
	}
	for _, tt := range tests {
		if got := tt.view.title(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

// TestViewScale checks that the bar counts bytes if the total is known, otherwise files, and
// that there is no bar if neither total is known.
func TestViewScale(t *testing.T) {
	tests := []struct {
		view       progressView
		done, most int64
	}{
		{progressView{files: 1, have: 3, total: 9}, 3, 9},
		{progressView{files: 4, done: 1, have: 12, total: 9}, 9, 9},
		{progressView{files: 4, done: 1, failed: 1, begun: 1.25, have: 3, total: -1}, 3250, 4000},
		{progressView{files: 4, done: 1, have: 3, total: 9, byFiles: true}, 1000, 4000},
		{progressView{files: 1, have: 3, total: 9, byFiles: true}, 3, 9},
		{progressView{files: 4, done: 5, total: -1}, 4000, 4000},
		{progressView{files: 4, done: 1, more: true, total: -1}, 0, 0},
		{progressView{files: 1, have: 3, total: -1}, 0, 0},
		{progressView{files: 1, total: 0}, 0, 0},
	}
	for _, tt := range tests {
		if done, most := tt.view.scale(); done != tt.done || most != tt.most {
			t.Errorf("%+v: got %d of %d, want %d of %d", tt.view, done, most, tt.done, tt.most)
		}
	}
}

func TestETA(t *testing.T) {
	for d, want := range map[time.Duration]string{
		900 * time.Millisecond: "1s", 59 * time.Second: "59s", time.Minute: "1m00s", 3725 * time.Second: "1h02m", 101 * time.Hour: "4d",
	} {
		if got := eta(d); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
}

func TestCut(t *testing.T) {
	for n, want := range map[int]string{10: "größte", 6: "größte", 4: "grö…", 1: "…", 0: "", -3: ""} {
		if got := truncate("größte", n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
	for n, want := range map[int]string{7: "漢字e\u0301ガ", 6: "漢字e\u0301…", 5: "漢字…", 4: "漢…", 3: "漢…", 2: "…"} {
		if got := truncate("漢字e\u0301ガ", n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}

// TestDisplayWidth checks the widths of texts whose length is not their number of characters.
func TestDisplayWidth(t *testing.T) {
	for text, want := range map[string]int{"": 0, "a–…ß": 4, "e\u0301": 1, "漢か한": 6, "🚀": 2, "👩‍🚀": 2, "я": 1} {
		if got := displayWidth(text); got != want {
			t.Errorf("%q: got %d, want %d", text, got, want)
		}
	}
}

// TestBarLine checks that the line is never longer than the terminal is wide, and that it
// contains the name if there is room.
func TestBarLine(t *testing.T) {
	v := progressView{name: "archive.tar.zst", files: 1, have: 8 << 30, total: 20 << 30, rate: 71 << 20, conns: 16}
	for columns := 1; columns < 200; columns++ {
		line := barLine(v, columns, look{})
		if n := utf8.RuneCountInString(line); n > columns {
			t.Errorf("%d columns: got %d: %q", columns, n, line)
		}
		if columns >= 79 && !strings.Contains(line, "archi") {
			t.Errorf("%d columns: no name in %q", columns, line)
		}
	}
	for have, want := range map[int64]string{0: "  0% [", 8 << 30: " 40% [=", 20 << 30: "100% [="} {
		v.have = have
		if line := barLine(v, 99, look{}); !strings.HasPrefix(line, want) {
			t.Errorf("%d bytes: got %q, want %q at the beginning", have, line, want)
		}
	}
	v.have, v.total = 20<<30, -1
	if line := barLine(v, 99, look{}); !strings.HasPrefix(line, "20.0 GiB, 71.0 MiB/s, 16 connections  archive") {
		t.Errorf("unknown size: got %q", line)
	}
}
