// Package fleet divides the files of lists among processes on many machines.
//
// A run is one or several lists that a fleet fetches, into a directory that all machines share or onto
// the disks of the workers. A [Submitter] reads the lists, as mirror.Run does on one machine, and puts
// the files that must be fetched into a queue, in batches of at most 256. Workers ([Worker]) take
// batches, fetch their files, and write the outcome of each file into the log of the run. The
// submitter reads the log, records the files, and ends as a run on one machine does. A [Broker] keeps
// the queues, the logs and a few keys: [ConnectNATS] uses a NATS server, and package fakebroker is for
// tests.
//
// All processes together must respect the limits of connections and requests of each host. So hosts
// are divided into lanes, and each lane into places: a place allows some connections to each host of
// the lane (see [Limits]). A process must hold a place while it has such connections ([Places];
// taker.go has the protocol). Places belong to a [Session], which ends if its process does not
// renew it.
//
//	broker.go      Broker, which nats.go implements; natstls.go, natscheck.go
//	message.go     the messages of queues and logs; ended.go, seal.go
//	runs.go        the keys of runs: state and control
//	submit.go      Submitter; logreader.go, collect.go
//	worker.go      Worker; batchrun.go, checkpoint.go, gate.go, target.go
//	session.go     Session; roster.go
//	limits.go      Limits; lanes.go
//	places.go      Places; taker.go, lane.go, hunger.go, slots.go
//	status.go      the progress of a run, for people
package fleet
