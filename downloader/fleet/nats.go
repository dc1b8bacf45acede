package fleet

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"iter"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"pawl/downloader/failure"
)

// This file implements Broker with NATS JetStream. It is the only one that uses the library of NATS;
// natstls.go and natscheck.go belong to it. A queue is a work queue stream with a durable consumer for
// each lane, a log is a stream, and a bucket is a key-value bucket as other NATS clients know it
// (ADR-8). Names and settings of streams are part of the format: other versions of pawl must use the
// same.
//
// The order of the file: options and connecting, requests, queues, logs, buckets, signals.

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

// # Connecting

// oldestNATS is the first version with markers for expired keys (ADR-43).
const oldestNATS = "2.11"

// options returns the options of the connection.
func (b *natsBroker) options() ([]nats.Option, error) {
	all := []nats.Option{
		nats.Name(cmp.Or(b.o.Name, "pawl")),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(250*time.Millisecond, 250*time.Millisecond),
		nats.ReconnectBufSize(-1), // requests fail at once and are sent again here, none twice
		nats.Timeout(attempt),
		nats.PingInterval(10 * time.Second), // a dead server is noticed before sessions end
		nats.MaxPingsOutstanding(2),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { b.onRefused(err) }),
		nats.DisconnectErrHandler(func(*nats.Conn, error) { b.abort(nats.ErrDisconnected, "") }),
	}
	secure, err := b.o.checkURLs()
	if err != nil {
		return nil, err
	}
	config, err := b.o.tlsConfig()
	if err != nil {
		return nil, err
	}
	// If one server needs TLS, all need it, including the servers that the cluster adds.
	if secure || b.o.CA != "" || b.o.Cert != "" {
		all = append(all, nats.Secure(config))
	}
	if b.o.Creds != "" {
		creds, err := credentialsOption(b.o.Creds)
		if err != nil {
			return nil, err
		}
		all = append(all, creds)
	}
	return all, nil
}

// credentialsOption reads a file of credentials: a JWT with its seed, or a seed alone, for servers
// that list the public keys of users.
func credentialsOption(file string) (nats.Option, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	if bytes.Contains(text, []byte("BEGIN NATS USER JWT")) {
		return nats.UserCredentials(file), nil
	}
	option, err := nats.NkeyOptionFromSeed(file)
	if err != nil { // its text could contain the seed
		return nil, fmt.Errorf("%q contains neither NATS credentials nor an nkey seed", file)
	}
	return option, nil
}

// connect connects until ctx ends.
func (b *natsBroker) connect(ctx context.Context, options []nats.Option) error {
	type result struct {
		nc  *nats.Conn
		err error
	}
	done := make(chan result, 1)
	go func() { // nats.Connect knows no context, but ends by its timeout
		nc, err := nats.Connect(strings.Join(b.o.URLs, ","), options...)
		done <- result{nc, err}
	}()
	var r result
	select {
	case <-ctx.Done():
		go func() {
			if r := <-done; r.nc != nil {
				r.nc.Close()
			}
		}()
		return ctx.Err()
	case r = <-done:
	}
	if r.err != nil {
		return connectError(r.err, strings.Join(b.o.URLs, ", "))
	}
	b.nc = r.nc
	b.js, r.err = jetstream.New(b.nc)
	return r.err
}

// connectError says why there is no connection to servers, and is of one of the kinds of package failure.
func connectError(err error, servers string) error {
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(err, nats.ErrNoServers):
		return kindError{fmt.Errorf("no NATS server answers at %s: %w", servers, err), failure.ErrNetwork}
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked):
		return kindError{fmt.Errorf("the NATS server at %s refuses the credentials: %w", servers, err), failure.ErrAuth}
	case errors.Is(err, nats.ErrSecureConnWanted):
		return kindError{fmt.Errorf("the NATS server at %s has no TLS: %w", servers, err), failure.ErrTLS}
	case errors.As(err, &certificate):
		return kindError{fmt.Errorf("the NATS server at %s does not prove its identity: %w", servers, err), failure.ErrTLS}
	}
	return kindError{fmt.Errorf("the NATS server at %s: %w", servers, err), failure.ErrNetwork}
}

// A kindError is an error that is also of another kind.
type kindError struct {
	error
	kind error
}

func (e kindError) Unwrap() []error { return []error{e.error, e.kind} }

// verify returns an error if the server cannot be used.
func (b *natsBroker) verify(ctx context.Context) error {
	if v := b.nc.ConnectedServerVersion(); older(v, oldestNATS) {
		return fmt.Errorf("the NATS server has version %s, and pawl needs %s or newer", v, oldestNATS)
	}
	if !b.nc.HeadersSupported() {
		return errors.New("the NATS server does not support headers")
	}
	return b.do(ctx, []string{"$JS.API.INFO"}, func(ctx context.Context) error {
		_, err := b.js.AccountInfo(ctx)
		if errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
			return errNoJetStream
		}
		return err
	})
}

var errNoJetStream = errors.New("the NATS server has no JetStream, or not for this account; add \"jetstream { }\" to its configuration")

// # Requests

const (
	attempt     = 5 * time.Second       // for a response, before a request is sent again
	firstPause  = 50 * time.Millisecond // before a request is sent again
	longestWait = 2 * time.Second       // doubled up to this

	// maxReaders limits the consumers of a stream, because the server's own default since 2.15 is
	// 1,000. With half of it, 64 lanes and some hundred workers that watch a bucket would not fit.
	maxReaders = 4096
)

// A natsCall is a request in progress. The server does not answer a request that the user may not
// send, but reports its subject on the connection.
type natsCall struct {
	objects []string // parts of its subjects: a stream, or a whole subject
	cancel  context.CancelCauseFunc
}

// A deniedError reports a missing permission.
type deniedError struct{ action, subject string }

// Is makes it a failure of authentication for errors.Is.
func (e *deniedError) Is(kind error) bool { return kind == failure.ErrAuth }

func (e *deniedError) Error() string {
	return fmt.Sprintf("the NATS server does not permit the user to %s %q", e.action, e.subject)
}

var deniedText = regexp.MustCompile(`(?i)permissions violation for (publish|subscription) to "?([^"]*)"?`)

// denied returns the deniedError that err means, or nil.
func denied(err error) *deniedError {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return nil
	}
	m := deniedText.FindStringSubmatch(err.Error())
	switch {
	case m == nil:
		return nil
	case strings.EqualFold(m[1], "publish"):
		return &deniedError{"publish to", m[2]}
	}
	return &deniedError{"subscribe to", m[2]}
}

// onRefused ends the requests for which a permission is missing.
func (b *natsBroker) onRefused(err error) {
	if e := denied(err); e != nil {
		b.abort(e, e.subject)
	}
}

// abort ends the requests of a subject, or all for "", with an error. Requests whose connection is
// lost get no answer.
func (b *natsBroker) abort(err error, subject string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.calls {
		if subject == "" || slices.ContainsFunc(c.objects, func(o string) bool { return strings.Contains(subject, o) }) {
			c.cancel(err)
		}
	}
}

// do calls f, which sends a request, until it succeeds, fails for good, or ctx ends. objects are parts
// of the subjects that f uses, see natsCall.
func (b *natsBroker) do(ctx context.Context, objects []string, f func(context.Context) error) error {
	for pause := firstPause; ; pause = min(2*pause, longestWait) {
		err := b.try(ctx, objects, f)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !transient(err):
			return b.explain(err)
		}
		sleep(ctx, pause)
	}
}

func (b *natsBroker) try(ctx context.Context, objects []string, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	ctx, abort := context.WithCancelCause(ctx)
	defer abort(nil)
	c := &natsCall{objects, abort}
	b.mu.Lock()
	b.calls[c] = true
	b.mu.Unlock()
	err := f(ctx)
	b.mu.Lock()
	delete(b.calls, c)
	b.mu.Unlock()
	if errors.Is(err, context.Canceled) {
		return context.Cause(ctx)
	}
	return err
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// transient reports whether a request may succeed later.
func transient(err error) bool {
	for _, t := range []error{
		context.DeadlineExceeded, nats.ErrTimeout, nats.ErrNoResponders, jetstream.ErrNoStreamResponse,
		nats.ErrDisconnected, nats.ErrConnectionReconnecting, nats.ErrReconnectBufExceeded, nats.ErrStaleConnection,
		jetstream.ErrJetStreamNotEnabled, jetstream.ErrServerShutdown, jetstream.ErrConsumerLeadershipChanged,
		jetstream.ErrConsumerDeleted, jetstream.ErrConsumerNotFound, jetstream.ErrConsumerDoesNotExist,
	} {
		if errors.Is(err, t) {
			return true
		}
	}
	var e *jetstream.APIError
	// 10008: system temporarily unavailable; 10009: cannot handle request; both during elections
	return errors.As(err, &e) && (e.ErrorCode == 10008 || e.ErrorCode == 10009)
}

// limitCodes are the error codes of limits of the account, the server or a stream, from the server's
// errors.json.
var limitCodes = []jetstream.ErrorCode{10002, 10023, 10026, 10027, 10028, 10047, 10054, 10077, 10120, 10122}

// explain returns an error in the words of Broker.
func (b *natsBroker) explain(err error) error {
	var e *jetstream.APIError
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return ErrNoRun
	case errors.Is(err, nats.ErrConnectionClosed):
		if last := b.nc.LastError(); last != nil {
			return fmt.Errorf("the NATS server has ended the connection: %w", last)
		}
		return err
	case errors.Is(err, nats.ErrMaxPayload):
		return fmt.Errorf("the NATS server takes messages of at most %d bytes (max_payload): %w", b.nc.MaxPayload(), err)
	case errors.As(err, &e) && slices.Contains(limitCodes, e.ErrorCode):
		return fmt.Errorf("the NATS server has reached a limit: %w", err)
	}
	return err
}

// publish stores a message in a stream once, and returns its sequence number.
func (b *natsBroker) publish(ctx context.Context, stream string, m *nats.Msg) (seq uint64, err error) {
	err = b.do(ctx, []string{m.Subject, stream}, func(ctx context.Context) error {
		ack, err := b.js.PublishMsg(ctx, m)
		if errors.Is(err, jetstream.ErrNoStreamResponse) { // no stream, or it has no leader
			if _, err := b.js.Stream(ctx, stream); err != nil {
				return err
			}
		}
		if err == nil {
			seq = ack.Sequence
		}
		return err
	})
	return seq, err
}

// createStream creates a stream if it is missing.
func (b *natsBroker) createStream(ctx context.Context, c jetstream.StreamConfig) error {
	c.Storage, c.Compression, c.Discard = jetstream.FileStorage, jetstream.S2Compression, jetstream.DiscardNew
	c.Replicas, c.MaxBytes, c.MaxConsumers = b.o.Replicas, b.o.MaxBytes, maxReaders
	c.MaxMsgs, c.MaxMsgSize = -1, -1
	return b.do(ctx, []string{c.Name}, func(ctx context.Context) error {
		_, err := b.js.CreateStream(ctx, c)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // with other settings, of another version or an administrator
			return nil
		}
		return err
	})
}

func (b *natsBroker) deleteStream(ctx context.Context, name string) error {
	err := b.do(ctx, []string{name}, func(ctx context.Context) error { return b.js.DeleteStream(ctx, name) })
	if errors.Is(err, ErrNoRun) {
		return nil
	}
	return err
}

// # Queues

const (
	// maxWaiting is how many messages of a lane may be given out at once. No lane has more places.
	maxWaiting = 1000
	// takeWait is how long Take waits for a message.
	takeWait = time.Second
)

// CreateQueue implements Broker.
func (b *natsBroker) CreateQueue(ctx context.Context, run string, lanes []string) error {
	for _, name := range append([]string{run}, lanes...) {
		if err := checkName(name); err != nil {
			return err
		}
	}
	err := b.createStream(ctx, jetstream.StreamConfig{
		Name: workStream(run), Subjects: []string{workSubject(run, "*")},
		Retention: jetstream.WorkQueuePolicy, Duplicates: time.Hour,
	})
	if err != nil {
		return err
	}
	err = b.createStream(ctx, jetstream.StreamConfig{
		Name: logStream(run), Subjects: []string{logSubject(run)},
		Retention: jetstream.LimitsPolicy, Duplicates: time.Hour,
	})
	for _, lane := range lanes {
		if err != nil {
			return err
		}
		err = b.do(ctx, []string{workStream(run)}, func(ctx context.Context) error {
			_, err := b.consumer(ctx, run, lane)
			return err
		})
	}
	return err
}

var nameText = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// checkName returns an error if a run, lane or bucket cannot be part of subjects and streams.
func checkName(name string) error {
	if !nameText.MatchString(name) {
		return fmt.Errorf("bad name %q for a queue", name)
	}
	return nil
}

// DeleteQueue implements Broker.
func (b *natsBroker) DeleteQueue(ctx context.Context, run string) error {
	return errors.Join(b.deleteStream(ctx, workStream(run)), b.deleteStream(ctx, logStream(run)))
}

// Publish implements Broker.
func (b *natsBroker) Publish(ctx context.Context, run, lane, id string, data []byte) error {
	if err := checkName(lane); err != nil {
		return err
	}
	_, err := b.publish(ctx, workStream(run), newMsg(workSubject(run, lane), id, data))
	return err
}

func newMsg(subject, id string, data []byte) *nats.Msg {
	m := nats.NewMsg(subject)
	m.Data = data
	m.Header.Set(jetstream.MsgIDHeader, cmp.Or(id, rand.Text())) // a request may be sent again
	return m
}

// Waiting implements Broker.
func (b *natsBroker) Waiting(ctx context.Context, run string) (map[string]int, error) {
	return b.waiting(ctx, run, "*")
}

func (b *natsBroker) waiting(ctx context.Context, run, lane string) (map[string]int, error) {
	all := make(map[string]int)
	err := b.do(ctx, []string{workStream(run)}, func(ctx context.Context) error {
		s, err := b.js.Stream(ctx, workStream(run))
		if err != nil {
			return err
		}
		info, err := s.Info(ctx, jetstream.WithSubjectFilter(workSubject(run, lane)))
		if err != nil {
			return err
		}
		for subject, n := range info.State.Subjects {
			all[strings.TrimPrefix(subject, workSubject(run, ""))] = int(n)
		}
		return nil
	})
	return all, err
}

// consumer returns the consumer of a lane, and creates it if it is missing.
func (b *natsBroker) consumer(ctx context.Context, run, lane string) (*natsConsumer, error) {
	stream, name := workStream(run), "l"+lane
	b.mu.Lock()
	l := b.consumers[stream+"."+lane]
	b.mu.Unlock()
	if l != nil {
		return l, nil
	}
	c, err := b.js.Consumer(ctx, stream, name)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		c, err = b.js.CreateConsumer(ctx, stream, jetstream.ConsumerConfig{
			Durable:       name,
			FilterSubject: workSubject(run, lane),
			DeliverPolicy: jetstream.DeliverAllPolicy,
			AckPolicy:     jetstream.AckExplicitPolicy,
			AckWait:       b.o.Lease,
			MaxAckPending: maxWaiting,
			MaxDeliver:    -1,
			MaxWaiting:    maxReaders,
			Replicas:      b.o.Replicas,
		})
	}
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	l = &natsConsumer{consumer: c, lease: c.CachedInfo().Config.AckWait, since: time.Now()}
	b.consumers[stream+"."+lane] = l
	return l, nil
}

// setLease gives a lane the lease of this process, which takes its messages. Most likely a submitter has created the lane, and
// it does not know how the workers were started.
func (b *natsBroker) setLease(ctx context.Context, l *natsConsumer) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lease == b.o.Lease {
		return nil
	}
	info := l.consumer.CachedInfo()
	config := info.Config
	config.AckWait = b.o.Lease
	if _, err := b.js.UpdateConsumer(ctx, info.Stream, config); err != nil {
		return err
	}
	l.lease = b.o.Lease
	return nil
}

// forget makes the next use of a lane look it up again.
func (b *natsBroker) forget(run, lane string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.consumers, workStream(run)+"."+lane)
}

// Take implements Broker.
func (b *natsBroker) Take(ctx context.Context, run, lane string) (Message, error) {
	if err := checkName(lane); err != nil {
		return nil, err
	}
	var l *natsConsumer
	var m jetstream.Msg
	err := b.do(ctx, []string{workStream(run)}, func(ctx context.Context) (err error) {
		if l, err = b.consumer(ctx, run, lane); err == nil {
			err = b.setLease(ctx, l)
		}
		if err != nil {
			return err
		}
		if m, err = b.next(ctx, l); err != nil {
			b.forget(run, lane)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if m == nil {
		return nil, b.heal(ctx, run, lane, l)
	}
	meta, err := m.Metadata()
	if err != nil {
		return nil, err
	}
	return &natsMessage{b: b, msg: m, meta: meta, stream: workStream(run), lease: b.o.Lease, end: time.Now().Add(b.o.Lease)}, nil
}

// next returns the next message of a lane, or nil if there is none within takeWait.
func (b *natsBroker) next(ctx context.Context, l *natsConsumer) (jetstream.Msg, error) {
	batch, err := l.consumer.Fetch(1, jetstream.FetchMaxWait(takeWait))
	if err != nil {
		return nil, err
	}
	select {
	case m, ok := <-batch.Messages():
		if !ok {
			return nil, batch.Error()
		}
		l.mu.Lock()
		l.since, l.stuck = time.Now(), false
		l.mu.Unlock()
		return m, nil
	case <-ctx.Done():
		b.background.Go(func() { // a message that still comes would wait for its lease
			if m, ok := <-batch.Messages(); ok {
				m.Nak()
			}
		})
		return nil, ctx.Err()
	}
}

// heal creates the consumer of a lane anew if the stream has messages for it, and it knows of none,
// twice in a row: nats-server has open reports of such consumers of work queues (#4736, #7680). All
// messages stay in the stream.
func (b *natsBroker) heal(ctx context.Context, run, lane string, l *natsConsumer) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.since) < b.o.Heal {
		return nil
	}
	was := l.stuck
	l.since, l.stuck = time.Now(), false
	waiting, err := b.waiting(ctx, run, lane)
	if err != nil || waiting[lane] == 0 {
		return err
	}
	return b.do(ctx, []string{workStream(run)}, func(ctx context.Context) error {
		info, err := l.consumer.Info(ctx)
		switch {
		case errors.Is(err, jetstream.ErrConsumerNotFound):
			b.forget(run, lane)
			return nil
		case err != nil:
			return err
		}
		l.stuck = info.NumPending == 0 && info.NumAckPending == 0
		if !l.stuck || !was {
			return nil
		}
		b.forget(run, lane)
		return b.js.DeleteConsumer(ctx, workStream(run), "l"+lane)
	})
}

// A natsMessage implements Message.
type natsMessage struct {
	b      *natsBroker
	msg    jetstream.Msg
	meta   *jetstream.MsgMetadata
	stream string
	lease  time.Duration

	mu  sync.Mutex
	end time.Time // of the lease; guarded by mu
}

func (m *natsMessage) Data() []byte  { return m.msg.Data() }
func (m *natsMessage) Delivery() int { return int(m.meta.NumDelivered) }

// Extend implements Message. The server would extend the lease of the next consumer, too, so the
// end of the lease is known here.
func (m *natsMessage) Extend() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if now.After(m.end) {
		return ErrLease
	}
	if err := m.msg.InProgress(); err != nil {
		return err
	}
	m.end = now.Add(m.lease)
	return nil
}

func (m *natsMessage) Done(ctx context.Context) error {
	return m.b.do(ctx, []string{m.msg.Reply(), m.stream}, func(ctx context.Context) error {
		soon, cancel := context.WithTimeout(ctx, attempt/2)
		defer cancel()
		err := m.msg.DoubleAck(soon)
		switch {
		case errors.Is(err, jetstream.ErrMsgAlreadyAckd):
			return nil
		case errors.Is(err, nats.ErrNoResponders), errors.Is(err, context.DeadlineExceeded):
			if e := m.undelivered(ctx); e != nil {
				return e
			}
		}
		return err
	})
}

// undelivered returns an error if the server will never answer Done: ErrLease if it has forgotten
// that it has delivered the message, as it may after a crash, and so will deliver it again.
func (m *natsMessage) undelivered(ctx context.Context) error {
	s, err := m.b.js.Stream(ctx, m.stream)
	if err != nil {
		return err
	}
	c, err := s.Consumer(ctx, m.meta.Consumer)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		return ErrLease
	case err != nil:
		return err
	case c.CachedInfo().Delivered.Stream < m.meta.Sequence.Stream:
		return ErrLease
	}
	return nil
}

func (m *natsMessage) Back(wait time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Now().After(m.end) {
		return ErrLease
	}
	m.end = time.Time{}
	if wait <= 0 {
		return m.msg.Nak()
	}
	return m.msg.NakWithDelay(wait)
}

// # Logs, and reading streams

const (
	readWait  = 2 * time.Second // how long a reader waits, and so notices that its consumer is gone
	readBatch = 64              // messages for a reader at once: at most 16 MiB, at 256 KiB each
)

// Append implements Broker.
func (b *natsBroker) Append(ctx context.Context, run, id string, data []byte) error {
	_, err := b.publish(ctx, logStream(run), newMsg(logSubject(run), id, data))
	return err
}

// Log implements Broker.
func (b *natsBroker) Log(ctx context.Context, run string, after uint64) iter.Seq2[LogEntry, error] {
	return func(yield func(LogEntry, error) bool) {
		last := after
		for ctx.Err() == nil {
			var end uint64
			r, err := b.reader(ctx, logStream(run), func(streamEnd uint64) jetstream.ConsumerConfig {
				if end = streamEnd; last > end { // the server has lost entries
					last = 0
				}
				return jetstream.ConsumerConfig{
					FilterSubject: logSubject(run),
					DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: last + 1,
				}
			})
			if err != nil {
				if ctx.Err() == nil {
					yield(LogEntry{}, err)
				}
				return
			}
			for m := range r.messages(ctx) {
				e := LogEntry{Seq: last}
				if m == nil && last < end { // the consumer is on a server that lags behind the leader of the stream
					sleep(ctx, firstPause)
					break
				}
				if m != nil {
					last = m.seq
					e = LogEntry{Seq: m.seq, Data: m.Data()}
					if e.Data == nil {
						e.Data = []byte{}
					}
				}
				if !yield(e, nil) {
					r.close()
					return
				}
			}
			r.close()
		}
	}
}

// A natsReader reads messages of a stream that stay there, with a consumer of its own.
type natsReader struct {
	b        *natsBroker
	stream   string
	consumer jetstream.Consumer
}

// A readMsg is a message and its place in the stream.
type readMsg struct {
	jetstream.Msg
	seq uint64
}

// reader returns a reader with the policy that config returns, which is given the last sequence
// number of the stream.
func (b *natsBroker) reader(ctx context.Context, stream string, config func(end uint64) jetstream.ConsumerConfig) (*natsReader, error) {
	r := &natsReader{b: b, stream: stream}
	err := b.do(ctx, []string{stream}, func(ctx context.Context) error {
		s, err := b.js.Stream(ctx, stream)
		if err != nil {
			return err
		}
		c := config(s.CachedInfo().State.LastSeq)
		c.Name = "r" + rand.Text()
		c.AckPolicy, c.InactiveThreshold = jetstream.AckNonePolicy, time.Minute
		c.Replicas, c.MemoryStorage = 1, true // whoever loses it makes another one
		r.consumer, err = b.js.CreateConsumer(ctx, stream, c)
		return err
	})
	return r, err
}

// close deletes the consumer, which the server would do after a minute.
func (r *natsReader) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if r.b.nc.IsConnected() {
		r.b.js.DeleteConsumer(ctx, r.stream, r.consumer.CachedInfo().Name)
	}
}

// messages yields the messages, and nil whenever it has yielded all, until ctx ends or
// the reader has missed something.
func (r *natsReader) messages(ctx context.Context) iter.Seq[*readMsg] {
	return func(yield func(*readMsg) bool) {
		read, marked := uint64(0), false // messages; whether nil was yielded after the last one
		mark := func() bool {
			if marked {
				return true
			}
			marked = true
			return yield(nil)
		}
		if r.consumer.CachedInfo().NumPending == 0 && !mark() {
			return
		}
		for ctx.Err() == nil {
			batch, err := r.consumer.Fetch(readBatch, jetstream.FetchMaxWait(readWait))
			if err != nil {
				sleep(ctx, firstPause)
				return
			}
			before := read
			for m := range received(ctx, batch) {
				meta, err := m.Metadata()
				if err != nil || meta.Sequence.Consumer != read+1 {
					return
				}
				read, marked = read+1, false
				if !yield(&readMsg{m, meta.Sequence.Stream}) || meta.NumPending == 0 && !mark() {
					return
				}
			}
			if ctx.Err() != nil {
				return
			}
			if batch.Error() != nil {
				sleep(ctx, firstPause)
				return
			}
			if read == before && r.b.nc.IsConnected() && !mark() {
				return
			}
		}
	}
}

// received yields the messages of a batch until ctx ends.
func received(ctx context.Context, batch jetstream.MessageBatch) iter.Seq[jetstream.Msg] {
	return func(yield func(jetstream.Msg) bool) {
		for {
			select {
			case m, ok := <-batch.Messages():
				if !ok || !yield(m) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

// # Buckets

const (
	// markerTTL is how long a deleted or expired key leaves a marker. A process that was cut off for
	// longer finds the difference by comparing all keys.
	markerTTL = time.Hour

	kvOperation = "KV-Operation"       // header of markers of deleted keys (ADR-8)
	kvMarker    = "Nats-Marker-Reason" // header of markers of expired keys (ADR-43)
)

// A natsBucket implements Bucket.
type natsBucket struct {
	b            *natsBroker
	name, stream string
}

// Bucket implements Broker.
func (b *natsBroker) Bucket(ctx context.Context, name string, expiry time.Duration) (Bucket, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	k := &natsBucket{b: b, name: name, stream: "KV_" + name}
	err := b.do(ctx, []string{k.stream}, func(ctx context.Context) error {
		_, err := b.js.Stream(ctx, k.stream)
		return err
	})
	if !errors.Is(err, ErrNoRun) {
		return k, err
	}
	duplicates := 2 * time.Minute
	if expiry > 0 {
		duplicates = min(duplicates, expiry)
	}
	err = b.createStream(ctx, jetstream.StreamConfig{
		Name: k.stream, Subjects: []string{k.subject(">")},
		MaxMsgsPerSubject: 1, MaxAge: expiry, Duplicates: duplicates,
		DenyDelete: true, AllowRollup: true, AllowDirect: true,
		AllowMsgTTL: true, SubjectDeleteMarkerTTL: markerTTL,
	})
	if denied := (*deniedError)(nil); errors.As(err, &denied) { // the user may only read
		err = kindError{err, ErrNoRun}
	}
	return k, err
}

// DeleteBucket implements Broker.
func (b *natsBroker) DeleteBucket(ctx context.Context, name string) error {
	return b.deleteStream(ctx, "KV_"+name)
}

func (k *natsBucket) subject(key string) string { return "$KV." + k.name + "." + key }

var keyText = regexp.MustCompile(`^[-_=/A-Za-z0-9]+(\.[-_=/A-Za-z0-9]+)*$`)

// last returns the last message of a key, perhaps a marker, or nil.
func (k *natsBucket) last(ctx context.Context, key string) (m *jetstream.RawStreamMsg, err error) {
	if !keyText.MatchString(key) {
		return nil, fmt.Errorf("bad key %q", key)
	}
	err = k.b.do(ctx, []string{k.stream}, func(ctx context.Context) error {
		s, err := k.b.js.Stream(ctx, k.stream)
		if err != nil {
			return err
		}
		m, err = s.GetLastMsgForSubject(ctx, k.subject(key))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			m = nil
			return nil
		}
		return err
	})
	return m, err
}

// isMarker reports whether a message says that a key was deleted or has expired.
func isMarker(h nats.Header) bool { return h.Get(kvOperation) != "" || h.Get(kvMarker) != "" }

// Get implements Bucket.
func (k *natsBucket) Get(ctx context.Context, key string) (Value, error) {
	m, err := k.last(ctx, key)
	switch {
	case err != nil:
		return Value{}, err
	case m == nil || isMarker(m.Header):
		return Value{}, ErrNoKey
	}
	return Value{m.Data, m.Sequence}, nil
}

// Create implements Bucket. If there is a marker, the key must still have it.
func (k *natsBucket) Create(ctx context.Context, key string, data []byte) (uint64, error) {
	m := newMsg(k.subject(key), rand.Text(), data)
	revision, err := k.replace(ctx, key, m, 0)
	for errors.Is(err, ErrConflict) {
		last, e := k.last(ctx, key)
		switch {
		case e != nil:
			return 0, e
		case last == nil: // the marker has just expired
			revision, err = k.replace(ctx, key, m, 0)
		case isMarker(last.Header):
			revision, err = k.replace(ctx, key, m, last.Sequence)
		default:
			return 0, err
		}
	}
	return revision, err
}

// Update implements Bucket.
func (k *natsBucket) Update(ctx context.Context, key string, data []byte, revision uint64) (uint64, error) {
	return k.replace(ctx, key, newMsg(k.subject(key), rand.Text(), data), revision)
}

// Put implements Bucket.
func (k *natsBucket) Put(ctx context.Context, key string, data []byte) (uint64, error) {
	if !keyText.MatchString(key) {
		return 0, fmt.Errorf("bad key %q", key)
	}
	return k.b.publish(ctx, k.stream, newMsg(k.subject(key), rand.Text(), data))
}

// Delete implements Bucket.
func (k *natsBucket) Delete(ctx context.Context, key string, revision uint64) error {
	m := newMsg(k.subject(key), rand.Text(), nil)
	m.Header.Set(kvOperation, "PURGE")
	m.Header.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject)
	m.Header.Set(jetstream.MsgTTLHeader, markerTTL.String())
	if revision != 0 {
		_, err := k.replace(ctx, key, m, revision)
		return err
	}
	if !keyText.MatchString(key) {
		return fmt.Errorf("bad key %q", key)
	}
	_, err := k.b.publish(ctx, k.stream, m)
	return err
}

// replace stores a message if the key has this revision. If the answer to a request is lost, the
// second one finds the message of the first one, by its ID.
func (k *natsBucket) replace(ctx context.Context, key string, m *nats.Msg, revision uint64) (uint64, error) {
	if !keyText.MatchString(key) {
		return 0, fmt.Errorf("bad key %q", key)
	}
	m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(revision, 10))
	seq, err := k.b.publish(ctx, k.stream, m)
	var e *jetstream.APIError
	if !errors.As(err, &e) || e.ErrorCode != jetstream.JSErrCodeStreamWrongLastSequence && e.ErrorCode != jetstream.JSErrCodeStreamWrongLastSequenceConstant {
		return seq, err
	}
	last, err := k.last(ctx, key)
	if err != nil {
		return 0, err
	}
	if last != nil && last.Header.Get(jetstream.MsgIDHeader) == m.Header.Get(jetstream.MsgIDHeader) {
		return last.Sequence, nil
	}
	return 0, ErrConflict
}

// List implements Bucket.
func (k *natsBucket) List(ctx context.Context, prefix string) (map[string]Value, error) {
	all := make(map[string]Value)
	for {
		r, err := k.reader(ctx, prefix)
		if err != nil {
			return nil, err
		}
		for m := range r.messages(ctx) {
			if m == nil {
				r.close()
				return all, nil
			}
			if key := k.key(m); isMarker(m.Headers()) {
				delete(all, key)
			} else if strings.HasPrefix(key, prefix) {
				all[key] = Value{m.Data(), m.seq}
			}
		}
		r.close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		clear(all)
	}
}

func (k *natsBucket) key(m *readMsg) string { return strings.TrimPrefix(m.Subject(), k.subject("")) }

// reader returns a reader of the keys with a prefix, and perhaps of others.
func (k *natsBucket) reader(ctx context.Context, prefix string) (*natsReader, error) {
	filter := prefix[:strings.LastIndex(prefix, ".")+1] + ">"
	return k.b.reader(ctx, k.stream, func(uint64) jetstream.ConsumerConfig {
		return jetstream.ConsumerConfig{FilterSubject: k.subject(filter), DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy}
	})
}

// Watch implements Bucket.
func (k *natsBucket) Watch(ctx context.Context, prefix string) (<-chan Change, error) {
	r, err := k.reader(ctx, prefix)
	if err != nil {
		return nil, err
	}
	out := make(chan Change, readBatch)
	k.b.background.Go(func() {
		defer close(out)
		w := natsWatch{k: k, prefix: prefix, known: make(map[string]uint64), out: out}
		for err == nil && ctx.Err() == nil {
			w.pass(ctx, r)
			r.close()
			r, err = k.reader(ctx, prefix)
		}
	})
	return out, nil
}

// A natsWatch sends a receiver the changes of keys.
type natsWatch struct {
	k      *natsBucket
	prefix string
	known  map[string]uint64 // revisions of the keys that the receiver knows
	out    chan<- Change
}

// pass reads all keys and then changes, until the reader ends. Keys that were deleted between two
// passes are missing in the second.
func (w *natsWatch) pass(ctx context.Context, r *natsReader) {
	seen := make(map[string]bool)
	for m := range r.messages(ctx) {
		if m == nil {
			for key := range w.known {
				if seen != nil && !seen[key] && !w.send(ctx, Change{Key: key, Deleted: true}) {
					return
				}
			}
			seen = nil
			continue
		}
		key := w.k.key(m)
		if !strings.HasPrefix(key, w.prefix) {
			continue
		}
		c := Change{Key: key, Value: Value{m.Data(), m.seq}}
		if isMarker(m.Headers()) {
			c = Change{Key: key, Value: Value{Revision: m.seq}, Deleted: true}
		} else if seen != nil {
			seen[key] = true
		}
		if !w.send(ctx, c) {
			return
		}
	}
}

// send sends a change unless the receiver knows it. It returns false if ctx or the broker has ended.
func (w *natsWatch) send(ctx context.Context, c Change) bool {
	revision, known := w.known[c.Key]
	if !known && c.Deleted || known && !c.Deleted && revision == c.Revision {
		return true
	}
	select {
	case w.out <- c:
	case <-ctx.Done():
		return false
	case <-w.k.b.closed:
		return false
	}
	if c.Deleted {
		delete(w.known, c.Key)
	} else {
		w.known[c.Key] = c.Revision
	}
	return true
}

// # Signals

// signalSubject is the subject of all signals.
const signalSubject = "pawl.signal"

// Signal implements Broker.
func (b *natsBroker) Signal(ctx context.Context, name string) error {
	return b.do(ctx, []string{signalSubject}, func(ctx context.Context) error {
		if err := b.nc.Publish(signalSubject, []byte(name)); err != nil {
			return err
		}
		return b.settle(ctx, signalSubject)
	})
}

// settle waits until the server has read all that was published before, and returns an error if it
// has denied the subject.
func (b *natsBroker) settle(ctx context.Context, subject string) error {
	if err := b.nc.FlushWithContext(ctx); err != nil {
		return err
	}
	if e := denied(b.nc.LastError()); e != nil && e.subject == subject {
		return e
	}
	return nil
}

// Signals implements Broker.
func (b *natsBroker) Signals(ctx context.Context) (<-chan string, error) {
	var sub *nats.Subscription
	err := b.do(ctx, []string{signalSubject}, func(ctx context.Context) (err error) {
		if sub, err = b.nc.SubscribeSync(signalSubject); err != nil {
			return err
		}
		if err = b.settle(ctx, signalSubject); err != nil {
			sub.Unsubscribe()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	out := make(chan string, readBatch)
	b.background.Go(func() {
		defer close(out)
		defer sub.Unsubscribe()
		for {
			m, err := sub.NextMsgWithContext(ctx)
			if errors.Is(err, nats.ErrSlowConsumer) {
				continue
			} else if err != nil {
				return
			}
			select {
			case out <- string(m.Data):
			default: // the receiver is too slow
			}
		}
	})
	return out, nil
}
