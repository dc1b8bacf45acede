package fleet

import (
	"context"
	"crypto/rand"
	"iter"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// This file keeps the logs of runs in NATS, and reads streams: logs and buckets.

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
func (b *natsBroker) Log(ctx context.Context, run string) iter.Seq2[LogEntry, error] {
	return func(yield func(LogEntry, error) bool) {
		last := uint64(0)
		for ctx.Err() == nil {
			r, err := b.reader(ctx, logStream(run), func(end uint64) jetstream.ConsumerConfig {
				if last > end { // the server has lost entries
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
