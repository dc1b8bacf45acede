package fleet

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// This file checks for an administrator whether a NATS server can keep queues.

const (
	// leastPayload is the size of the largest message of the server that pawl needs, in bytes: twice
	// the largest batch.
	leastPayload = 512 << 10
	// mostSkew is the largest difference of clocks that Check accepts, because batches of later
	// rounds name a time.
	mostSkew = 5 * time.Second
)

// Check implements Broker.
func (b *natsBroker) Check(ctx context.Context) ([]string, error) {
	var wrong []string
	if n := b.nc.MaxPayload(); n < leastPayload {
		wrong = append(wrong, fmt.Sprintf("the server takes messages of at most %d bytes: set max_payload to %d or more", n, leastPayload))
	}
	tried, err := b.checkBucket(ctx)
	if err != nil {
		return nil, err
	}
	synced, err := b.checkSync(ctx)
	if err != nil {
		return nil, err
	}
	return slices.Concat(wrong, tried, synced), nil
}

// checkBucket tries a write, a conflict and an expiry, and compares the clocks.
func (b *natsBroker) checkBucket(ctx context.Context) (wrong []string, err error) {
	const expiry = time.Second
	name := "PAWL_CHECK_" + rand.Text()
	k, err := b.Bucket(ctx, name, expiry)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.DeleteBucket(context.WithoutCancel(ctx), name)) }()
	sent := time.Now()
	revision, err := k.Create(ctx, "k", []byte("1"))
	if err != nil {
		return nil, err
	}
	m, err := k.(*natsBucket).last(ctx, "k")
	if err != nil {
		return nil, err
	}
	if m != nil && (m.Time.Before(sent.Add(-mostSkew)) || m.Time.After(time.Now().Add(mostSkew))) {
		wrong = append(wrong, fmt.Sprintf("the server's clock differs by %v from the clock of this machine", m.Time.Sub(sent).Round(time.Second)))
	}
	if _, err := k.Update(ctx, "k", []byte("2"), revision+1); err == nil {
		wrong = append(wrong, "the server changes keys that have another revision")
	} else if !errors.Is(err, ErrConflict) {
		return wrong, err
	}
	for end := sent.Add(10 * expiry); ; sleep(ctx, expiry/4) {
		_, err := k.Create(ctx, "k", []byte("3"))
		switch {
		case err == nil && time.Since(sent) < expiry:
			return append(wrong, "keys expire too soon"), nil
		case err == nil:
			return wrong, nil
		case !errors.Is(err, ErrConflict):
			return wrong, err
		case time.Now().After(end):
			return append(wrong, "keys do not expire"), nil
		}
	}
}

// checkSync asks the monitoring port whether the server syncs each write to disk. NATS itself does
// not say so.
func (b *natsBroker) checkSync(ctx context.Context) ([]string, error) {
	if b.o.Monitor == "" {
		return []string{"it is not known whether the server syncs each write to disk (sync_interval: always): give the URL of its monitoring port"}, nil
	}
	u, err := url.Parse(b.o.Monitor)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.JoinPath("varz").String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("monitoring port of the NATS server: %w", err)
	}
	defer resp.Body.Close()
	var v struct {
		JetStream struct {
			Config struct {
				SyncAlways bool `json:"sync_always"`
			} `json:"config"`
		} `json:"jetstream"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(nil, resp.Body, 1<<20)).Decode(&v); err != nil {
		return nil, fmt.Errorf("monitoring port of the NATS server: %w", err)
	}
	if !v.JetStream.Config.SyncAlways {
		return []string{"the server does not sync each write to disk, so a power cut can lose whole runs: set sync_interval: always in its jetstream block"}, nil
	}
	return nil, nil
}
