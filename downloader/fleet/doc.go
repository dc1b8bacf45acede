// Package fleet divides the files of lists among processes on many machines.
//
// A submitter reads the lists, as mirror.Run does on one machine, and queues the files that must
// be fetched in batches. Workers take batches, fetch their files, and report in a log how each
// ended. The submitter reads the log, records the files, and ends as a run on one machine does.
// A [Broker] keeps the queue, the log and a few keys; nats.go is the only file that knows which
// one.
//
// Hosts are divided into lanes. A lane has as many places as connections may be open to each of
// its hosts, by all processes together, and each place is a key that one session holds. A
// session ends if its process does not renew it.
package fleet
