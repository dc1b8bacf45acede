package fleet

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// This file keeps buckets in NATS.

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
