package fleet

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// This file keeps the queues of runs in NATS: the messages of their lanes.

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
