package sched

import "time"

// state is the state of a connection. The package comment has the table.
type state int

const (
	idle state = iota
	queued
	connecting
	awaiting
	receiving
	yielding
)

// A Reason is why the Scheduler stops a request.
type Reason int

const (
	Stolen    Reason = iota + 1 // another connection has taken over all bytes of the request
	Replaced                    // a new connection is likely to be faster, or to get a response
	Overdue                     // no response for long, though other connections receive bytes
	Trickling                   // next to no bytes for long
	Yielded                     // another process or download needs the connection, or the user allows fewer
	Disabled                    // its source is not used any more
)

const (
	// minOverdue is the shortest time without a response after which a request is overdue.
	// A guess, in the order of RFC 6298 §2.4 (1 s at least). At half, servers that need 0.3 s
	// now and then are asked twice; at double, a lost request delays the end by 0.5 s more.
	minOverdue = 500 * time.Millisecond
	// coldTrips is the number of round trips from the start of a new connection to the first
	// byte of its response: TCP and request. TLS 1.3 adds one, and slow start its own (see
	// Source.tripsUntil). Derived.
	coldTrips = 2
	// warmTrips is the same number for an open connection: request and response. Derived.
	warmTrips = 1
	// tripOverhead is added to each round trip for the work of both machines. A guess; on
	// loopback it is the whole cost. Half or double shifts the smallest worthwhile steal by
	// as many milliseconds' worth of bytes.
	tripOverhead = 5 * time.Millisecond
)

// A request is the request that a connection has under way, or had last. Its methods are
// the transitions of the state; each comment names the event.
type request struct {
	state       state
	stop        func(Reason) // ends the request; nil while idle; may be called several times
	bodyEnd     int64        // offset in the file at which the usable part of the body ends; kept while idle
	requestedAt time.Time
	sentAt      time.Time // zero before the request is sent

	// replacesAfter is how long the request that this one replaces went unanswered, 0 if
	// it replaces none. It remains until a response comes, also over several requests.
	replacesAfter time.Duration
}

// begin is the event Requesting.
func (r *request) begin(stop func(Reason), now time.Time) {
	*r = request{state: connecting, stop: stop, requestedAt: now, replacesAfter: r.replacesAfter}
}

// queue is the event Queued.
func (r *request) queue(waits bool) {
	switch {
	case waits && (r.state == connecting || r.state == awaiting):
		r.state = queued
	case !waits && r.state == queued:
		r.state = connecting
	}
}

// send is the event Sent. After a redirect, a request is sent again.
func (r *request) send(now time.Time) {
	if r.state == connecting || r.state == awaiting {
		r.state, r.sentAt = awaiting, now
	}
}

// retry is the event Retrying.
func (r *request) retry() {
	if r.state == awaiting {
		r.state = connecting
	}
}

// respond is the event Responded.
func (r *request) respond(bodyEnd int64) {
	r.state, r.bodyEnd, r.replacesAfter = receiving, bodyEnd, 0
}

// yield ends a request because others need its connection.
func (r *request) yield() {
	r.state = yielding
	r.stop(Yielded)
}

// end is the event Release.
func (r *request) end() { r.state, r.stop = idle, nil }

// responded reports whether the request under way, or the last one of an idle connection,
// has had a response.
func (r *request) responded() bool {
	return r.state == receiving || r.state == idle && r.bodyEnd > 0
}

// waited returns how long the request has been waiting for its response: since it was
// sent, or requested if it was not.
func (r *request) waited(now time.Time) time.Duration {
	if r.sentAt.IsZero() {
		return now.Sub(r.requestedAt)
	}
	return now.Sub(r.sentAt)
}

// isOverdue reports whether no response has come within minOverdue and about twice the
// typical response time of the source. A request that replaces an unanswered one waits
// twice as long as its predecessor did, so a slow server is heard in the end.
func (r *request) isOverdue(t timing, now time.Time) bool {
	limit := max(minOverdue, 2*t.typical+2*coldTrips*(t.rtt+tripOverhead), 2*r.replacesAfter)
	return r.state == awaiting && r.waited(now) > limit
}

// untilResponse estimates how long the response will still take: the rest of the typical
// response time, or, once the request is overdue, as long again as it has waited.
func (r *request) untilResponse(t timing, now time.Time) time.Duration {
	switch {
	case r.state == idle || r.state == receiving || r.state == yielding:
		return 0
	case r.isOverdue(t, now):
		return r.waited(now)
	}
	return max(0, t.typical-r.waited(now))
}
