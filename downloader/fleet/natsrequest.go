package fleet

import (
	"context"
	"errors"
	"fmt"
	"pawl/downloader/failure"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// This file sends requests to NATS servers again until they succeed, and puts their errors into words.

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
