package fleet

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The files nats*.go implement Broker with NATS JetStream; no other file depends on NATS. A queue is
// a work queue stream with a durable consumer for each lane, a log is a stream, and a bucket is a
// key-value bucket as other NATS clients know it (ADR-8). Names and settings of streams are part of
// the format: other versions of pawl must use the same.
//
//	natsconnect.go  connects, and verifies the server
//	natsrequest.go  sends each request until it succeeds, and explains errors
//	natsqueue.go    queues and their messages
//	natslog.go      logs, and readers of streams
//	natsbucket.go   buckets
//	natssignal.go   signals
//	natscheck.go    checks a server for its administrator

// NATSOptions are the options of ConnectNATS. URLs must be set.
type NATSOptions struct {
	URLs     []string      // of one or more servers of one cluster: tls://host:4222
	Insecure bool          // allows nats:// to other machines
	CA       string        // file with certificates to trust (PEM); "": the certificates of the system
	Cert     string        // file with a client certificate (PEM)
	Key      string        // file with its key (PEM)
	Creds    string        // file with a JWT and an nkey seed, or with only a seed
	Name     string        // of the connection, for the administrator of the server
	Monitor  string        // URL of the server's monitoring port, which only Check uses
	Replicas int           // of streams and buckets; 0 means 1
	MaxBytes int64         // of each stream; 0 means no limit
	Lease    time.Duration // of a message; 0 means 30 s
	Heal     time.Duration // how long a lane may give out none of its messages; 0 means a minute
}

func (o NATSOptions) withDefaults() NATSOptions {
	o.Replicas = cmp.Or(o.Replicas, 1)
	o.MaxBytes = cmp.Or(o.MaxBytes, -1)
	o.Lease = cmp.Or(o.Lease, 30*time.Second)
	o.Heal = cmp.Or(o.Heal, time.Minute)
	return o
}

// ConnectNATS connects to a NATS server, version 2.11 or newer, with JetStream. It fails at once if
// no server can be reached; later it reconnects without limit.
func ConnectNATS(ctx context.Context, o NATSOptions) (Broker, error) {
	b := &natsBroker{o: o.withDefaults(), closed: make(chan struct{}), consumers: make(map[string]*natsConsumer), calls: make(map[*natsCall]bool)}
	options, err := b.options()
	if err != nil {
		return nil, err
	}
	if err := b.connect(ctx, options); err != nil {
		return nil, err
	}
	if err := b.verify(ctx); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// A natsBroker implements Broker.
type natsBroker struct {
	o          NATSOptions
	nc         *nats.Conn
	js         jetstream.JetStream
	background sync.WaitGroup // of Take, Signals and Watch; Close waits for them
	closed     chan struct{}  // closed by Close
	closing    sync.Once

	mu        sync.Mutex
	consumers map[string]*natsConsumer // by stream and lane; guarded by mu
	calls     map[*natsCall]bool       // in progress; guarded by mu
}

// A natsConsumer is the consumer of a lane.
type natsConsumer struct {
	consumer jetstream.Consumer

	mu    sync.Mutex
	lease time.Duration // of a message; guarded by mu, as all fields below
	since time.Time     // of the last message, or of the last look at the stream
	stuck bool          // at that look, the lane had messages that the consumer did not know
}

// Close implements Broker.
func (b *natsBroker) Close() error {
	b.closing.Do(func() {
		close(b.closed)
		b.nc.Close()
	})
	b.background.Wait()
	return nil
}

func workStream(run string) string        { return "PAWL_" + run + "_WORK" }
func logStream(run string) string         { return "PAWL_" + run + "_LOG" }
func workSubject(run, lane string) string { return "pawl." + run + ".work." + lane }
func logSubject(run string) string        { return "pawl." + run + ".log" }
