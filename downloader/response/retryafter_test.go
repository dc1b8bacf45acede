package response

import (
	"math"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	tests := []struct {
		in   string
		want time.Duration
		ok   bool
	}{
		{"0", 0, true},
		{" 120 ", 2 * time.Minute, true},
		{"Fri, 02 Jan 2026 03:05:05 GMT", time.Minute, true},
		{"Friday, 02-Jan-26 03:05:05 GMT", time.Minute, true}, // this form and the next one are obsolete (RFC 9110 §5.6.7)
		{"Fri Jan  2 03:05:05 2026", time.Minute, true},
		{"Thu, 01 Jan 2026 00:00:00 GMT", 0, true},
		{"Thu, 01 Jan 1970 00:00:00 GMT", 0, true},
		{"Fri, 31 Dec 9999 23:59:59 GMT", math.MaxInt64, true},
		{"9223372036", 9223372036 * time.Second, true},
		{"9223372037", math.MaxInt64, true}, // overflows int64 as nanoseconds
		{"18446744073709551616", math.MaxInt64, true},
		{strings.Repeat("9", 100), math.MaxInt64, true},
		{in: ""}, {in: "-1"}, {in: "+1"}, {in: "1.5"}, {in: "1e3"}, {in: "0x10"}, {in: "soon"},
		{in: "120, 120"}, {in: "2026-01-02T03:05:05Z"},
	}
	for _, tt := range tests {
		got, ok := RetryAfter(http.Header{"Retry-After": {tt.in}}, now)
		if got != tt.want || ok != tt.ok {
			t.Errorf("Retry-After %q: got %v, %v, want %v, %v", tt.in, got, ok, tt.want, tt.ok)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"0", "9223372037", "-1", "Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 GMT", "99999999999999999999x"} {
		f.Add(s, int64(0))
	}
	f.Fuzz(func(t *testing.T, s string, now int64) {
		d, ok := RetryAfter(http.Header{"Retry-After": {s}}, time.Unix(now, 0))
		if d < 0 || !ok && d != 0 {
			t.Errorf("Retry-After %q at %d: got %v, %v", s, now, d, ok)
		}
	})
}
