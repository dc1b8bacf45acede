package main

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// TestMeter: the rate is that of the last seconds, whatever came before, and
// starting over is no negative rate.
func TestMeter(t *testing.T) {
	var m meter
	now := time.Unix(1e9, 0)
	have := int64(50 << 30) // of an earlier run: no rate
	if r := m.at(now, have); r != 0 {
		t.Errorf("first sample: got %v, want 0", r)
	}
	for range 100 {
		now, have = now.Add(200*time.Millisecond), have+1<<20
		m.at(now, have)
	}
	now = now.Add(200 * time.Millisecond)
	if r := m.at(now, have+1<<20); r < 4.9*(1<<20) || r > 5.1*(1<<20) {
		t.Errorf("steady: got %v, want 5 MiB/s", r)
	}
	if r := m.at(now.Add(time.Second), 10); r != 0 {
		t.Errorf("starting over: got %v, want 0", r)
	}
	if r := m.at(now.Add(2*time.Second), 110); r != 100 {
		t.Errorf("after starting over: got %v, want 100", r)
	}
}

func TestViewText(t *testing.T) {
	tests := []struct {
		view view
		want string
	}{
		{view{have: 0, total: 100, conns: 1}, "0 B/100 B, 1 connection"},
		{view{have: 1 << 20, total: 11 << 20, rate: 1 << 20, conns: 2}, "1.0 MiB/11.0 MiB, 1.0 MiB/s, eta 10s, 2 connections"},
		{view{have: 1 << 20, total: -1, rate: 1 << 20, conns: 1}, "1.0 MiB, 1.0 MiB/s, 1 connection"},
		{view{have: 100, total: 100, rate: 1 << 20}, "100 B/100 B, 1.0 MiB/s, 0 connections"},
	}
	for _, tt := range tests {
		if got := tt.view.text(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
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
	for n, want := range map[int]string{10: "größte", 6: "größte", 4: "grö…", 1: "…"} {
		if got := cut("größte", n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}

// TestBarLine: one line, never longer than there are columns, and the name on
// it wherever there is room.
func TestBarLine(t *testing.T) {
	v := view{name: "archive.tar.zst", files: 1, have: 8 << 30, total: 20 << 30, rate: 71 << 20, conns: 16}
	for columns := 1; columns < 200; columns++ {
		line := barLine(v, columns)
		if n := utf8.RuneCountInString(line); n > columns {
			t.Errorf("%d columns: got %d: %q", columns, n, line)
		}
		if columns >= 79 && !strings.Contains(line, "archive.tar") {
			t.Errorf("%d columns: no name in %q", columns, line)
		}
	}
	for have, want := range map[int64]string{0: "  0% [", 8 << 30: " 40% [=", 20 << 30: "100% [="} {
		v.have = have
		if line := barLine(v, 99); !strings.HasPrefix(line, want) {
			t.Errorf("%d bytes: got %q, want %q at the beginning", have, line, want)
		}
	}
	v.have, v.total = 20<<30, -1
	if line := barLine(v, 99); !strings.HasPrefix(line, "20.0 GiB, 71.0 MiB/s, 16 connections  archive") {
		t.Errorf("unknown size: got %q", line)
	}
}
