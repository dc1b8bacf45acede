// Package sched decides, for one download, which connection fetches which bytes, when,
// and for how long. It makes no request and reads no clock: the caller reports events
// with their time, and the package answers with byte ranges and with calls of stop
// functions. It starts no goroutine, and nothing in it waits.
//
// A download has a [Scheduler]. It fetches from one or several sources: the requested URL
// and mirrors of it. A [Source] limits its connections by a [Gate]. A [Conn] is a
// connection to a source; one goroutine of the caller drives it.
//
// # The states of a connection
//
// A connection is always in exactly one state. The events are methods of Conn, except
// "stop", which the Scheduler calls itself: it ends the request under way for a [Reason].
//
//	state       meaning                                   event        next state
//	idle        no request; it may have a claim           Requesting   connecting
//	connecting  the request needs a connection, or waits  Queued(true) queued
//	            for a slot, or for the next try           Sent         awaiting
//	queued      waits for the request rate limit          Queued(false) connecting
//	awaiting    the request is sent, nothing has come     Responded    receiving
//	            back                                      Retrying     connecting
//	                                                      Sent         awaiting (a redirect)
//	                                                      Queued(true) queued (a redirect)
//	receiving   the body of the response arrives          Received     receiving
//	                                                      stop(Yielded) yielding
//	yielding    the request is stopped, because others    Release      idle
//	            need the connection
//	any state   the claim or the request is at its end    Release      idle
//
// Stop does not change the state, except for Yielded, because the caller notices a stop
// later: it reports the end of the request by Release or by the next Requesting. Sent, Queued
// and Retrying have no effect in other states. After a connection has left the download (Next
// returned false, StepDown or LeaveUnlessLast succeeded, or Leave), only Leave may be called.
//
// Beside its state, a connection remembers whether it has delivered bytes since its last
// refusal, whether its next request needs no new TCP connection, and whether it backs off (its last request
// failed and no byte has come since). While a connection backs off, its source gets no
// further ones.
//
// # The periodic decisions
//
// The caller calls [Scheduler.Tick] every [TickInterval], and when [Scheduler.Wake]
// reports that a new connection works. Tick decides, in this order and under one lock:
//
//  1. limit: how many connections the user allows, and whether the rate limit of the user keeps them from
//     being faster.
//  2. ramp up: whether further connections are opened ([Source], ramp.go).
//  3. expire: whether requests without a response, or with next to no bytes, are stopped (timeout.go).
//  4. replace: whether a slow connection is exchanged for a new one (replace.go).
//  5. yield: whether connections are too many, or one is given to another download or process (yield.go).
//
// All other decisions are made when a connection asks for work ([Conn.Next]): where its request
// begins (behind the bytes that the first connection will fetch, whose body goes on), its size
// (scheduler_work.go), and which bytes it takes over from a slower connection (steal.go).
package sched
