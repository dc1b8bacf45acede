package sched

import (
	"testing"
	"time"
)

// TestTransitions compares the table of the package comment with the code.
func TestTransitions(t *testing.T) {
	now := epoch
	events := map[string]func(*request){
		"Requesting":    func(r *request) { r.begin(func(Reason) {}, now) },
		"Queued(true)":  func(r *request) { r.queue(true) },
		"Queued(false)": func(r *request) { r.queue(false) },
		"Sent":          func(r *request) { r.send(now) },
		"Retrying":      func(r *request) { r.retry() },
		"Responded":     func(r *request) { r.respond(1) },
		"Yielded":       func(r *request) { r.yield() },
		"Release":       func(r *request) { r.end() },
	}
	// paths lead to each state; after them, an event leads to the state given, and all
	// others leave it.
	paths := map[state][]string{
		idle:       {"Requesting", "Release"},
		connecting: {"Requesting"},
		queued:     {"Requesting", "Queued(true)"},
		awaiting:   {"Requesting", "Sent"},
		receiving:  {"Requesting", "Sent", "Responded"},
		yielding:   {"Requesting", "Sent", "Responded", "Yielded"},
	}
	next := map[state]map[string]state{
		idle:       {"Requesting": connecting},
		connecting: {"Queued(true)": queued, "Sent": awaiting, "Responded": receiving, "Release": idle},
		queued:     {"Queued(false)": connecting, "Requesting": connecting, "Responded": receiving, "Release": idle},
		awaiting:   {"Retrying": connecting, "Queued(true)": queued, "Requesting": connecting, "Responded": receiving, "Release": idle},
		receiving:  {"Requesting": connecting, "Release": idle, "Yielded": yielding},
		yielding:   {"Requesting": connecting, "Responded": receiving, "Release": idle},
	}
	for from, path := range paths {
		for name, event := range events {
			if from != receiving && name == "Yielded" || from == idle && name == "Responded" {
				continue // impossible
			}
			var r request
			for _, before := range path {
				events[before](&r)
			}
			if r.state != from {
				t.Fatalf("%v led to %d, want %d", path, r.state, from)
			}
			want, ok := next[from][name]
			if !ok {
				want = from
			}
			if event(&r); r.state != want || (r.stop == nil) != (want == idle) {
				t.Errorf("state %d, %s: got state %d, want %d", from, name, r.state, want)
			}
		}
	}
}

// TestOverdue: after 500 ms and twice the typical time. A replacement waits twice as long as
// its predecessor, until a response comes.
func TestOverdue(t *testing.T) {
	var slow timing
	slow.add(time.Second)
	overdue := func(name string, r *request, tm timing, limit time.Duration) {
		t.Helper()
		for after, want := range map[time.Duration]bool{limit: false, limit + 1: true} {
			if got := r.isOverdue(tm, epoch.Add(after)); got != want {
				t.Errorf("%s, after %v: got overdue %t", name, after, got)
			}
		}
	}
	r := request{replacesAfter: 2 * time.Second}
	r.begin(func(Reason) {}, epoch)
	if r.isOverdue(timing{}, epoch.Add(time.Hour)) {
		t.Error("a request that is not sent is overdue")
	}
	r.send(epoch)
	overdue("replacement", &r, timing{}, 4*time.Second)
	r.begin(func(Reason) {}, epoch)
	r.send(epoch)
	overdue("again", &r, timing{}, 4*time.Second)
	r.respond(1)
	r.begin(func(Reason) {}, epoch)
	r.send(epoch)
	overdue("after a response", &r, timing{}, minOverdue)
	overdue("slow server", &r, slow, 2*time.Second+2*coldTrips*(time.Second+tripOverhead))
	if got, want := r.untilResponse(slow, epoch.Add(300*ms)), 700*ms; got != want {
		t.Errorf("until the response: got %v, want %v", got, want)
	}
	if got, want := r.untilResponse(timing{}, epoch.Add(2*time.Second)), 2*time.Second; got != want {
		t.Errorf("until an overdue response: got %v, want %v", got, want)
	}
	if r.retry(); r.isOverdue(timing{}, epoch.Add(time.Hour)) {
		t.Error("a request that waits for its next try is overdue")
	}
}

// TestTiming: the shortest response is the round trip, and the newest counts for half.
func TestTiming(t *testing.T) {
	var tm timing
	for _, step := range []struct{ took, rtt, typical time.Duration }{
		{0, 0, 0}, {100 * ms, 100 * ms, 100 * ms}, {300 * ms, 100 * ms, 200 * ms}, {50 * ms, 50 * ms, 125 * ms}, {0, 50 * ms, 125 * ms},
	} {
		if tm.add(step.took); tm.rtt != step.rtt || tm.typical != step.typical {
			t.Errorf("after %v: got %v, %v, want %v, %v", step.took, tm.rtt, tm.typical, step.rtt, step.typical)
		}
	}
	if got, want := tm.after(coldTrips), 2*55*ms+75*ms; got != want {
		t.Errorf("after two round trips: got %v, want %v", got, want)
	}
	// The first two windows together are three times the first one.
	if got := tm.slowStart(3 * initialWindow / tm.rtt.Seconds()); got != 2 {
		t.Errorf("slow start: got %v round trips, want 2", got)
	}
}
