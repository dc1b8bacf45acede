package fleet

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go"
)

// This file sends and receives signals over NATS.

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
