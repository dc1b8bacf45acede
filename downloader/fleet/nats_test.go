package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"pawl/downloader/fleet"
	"pawl/downloader/fleet/natstest"
)

func TestUnsafeURLs(t *testing.T) {
	for _, c := range []struct{ url, want string }{
		{"nats://queue.example.org:4222", "must begin with tls://"},
		{"nats://192.0.2.1", "must begin with tls://"},
		{"nats://127.0.0.1.example.org", "must begin with tls://"},
		{"ws://127.0.0.1", "must begin with tls://"},
		{"tls://user:hunter2@queue.example.org", "must not contain credentials"},
		{"tls://token@queue.example.org", "must not contain credentials"},
		{"queue.example.org", "must be like tls://"},
		{"", "must be like tls://"},
	} {
		_, err := fleet.ConnectNATS(t.Context(), fleet.NATSOptions{URLs: []string{"nats://127.0.0.1:1", c.url}})
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: got error %v, want %q", c.url, err, c.want)
		}
	}
}

// wantError checks that ConnectNATS fails with these words.
func wantError(t *testing.T, o fleet.NATSOptions, words ...string) {
	t.Helper()
	b, err := fleet.ConnectNATS(t.Context(), o)
	if err == nil {
		b.Close()
		t.Errorf("connected, want the error %q", words)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("got error %q, want %q", err, w)
		}
	}
}

func TestConnectErrors(t *testing.T) {
	s := natstest.Start(t, natstest.Options{Roles: true})
	good := natsOptions(s, "work")

	o := good
	o.URLs = []string{"tls://127.0.0.1:1"}
	wantError(t, o, "no NATS server answers at tls://127.0.0.1:1")

	other, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := other.Seed()
	if err != nil {
		t.Fatal(err)
	}
	o = good
	o.Creds = filepath.Join(t.TempDir(), "other.nk")
	if err := os.WriteFile(o.Creds, seed, 0o600); err != nil {
		t.Fatal(err)
	}
	wantError(t, o, "refuses the credentials")
	o.Creds = ""
	wantError(t, o, "refuses the credentials")
	o.Creds = filepath.Join(t.TempDir(), "missing.nk")
	wantError(t, o, "missing.nk")
	o.Creds = s.CA()
	wantError(t, o, "contains neither NATS credentials nor an nkey seed")

	o = good
	o.CA = ""
	wantError(t, o, "unknown authority")
	o.CA = good.Creds
	wantError(t, o, "contains no certificate")
	o = good
	o.Cert = s.CA()
	wantError(t, o, "a certificate file and a key file")
	o = good
	o.URLs = []string{strings.Replace(s.URL(), "127.0.0.1", "localhost", 1)}
	wantError(t, o, "certificate")

	plain := natstest.Start(t, natstest.Options{Replace: []string{"jetstream {", "jetstream {\n  enabled: false"}})
	o = natsOptions(plain, "")
	wantError(t, o, "has no JetStream")
	o.URLs = []string{strings.Replace(plain.URL(), "nats:", "tls:", 1)}
	wantError(t, o, "has no TLS")

	s.Stop()
	wantError(t, good, s.URL())
}

func TestConnectContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := fleet.ConnectNATS(ctx, fleet.NATSOptions{URLs: []string{"nats://127.0.0.1:1"}}); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v", err)
	}
}

// Each role is denied what it does not need, at once and with the name of the subject.
func TestMissingPermissions(t *testing.T) {
	s := natstest.Start(t, natstest.Options{Roles: true})
	r := newRig(t, func(t *testing.T, role string) fleet.Broker { return dial(t, s, role, lease) })
	r.publish("1")
	r.bucket(r.submit, 0)
	k := r.bucket(r.watch, 0)
	for _, c := range []struct {
		name, subject string
		call          func() error
	}{
		{"work creates a run", "$JS.API.STREAM.CREATE.PAWL_x_WORK", func() error { return r.work.CreateQueue(r.ctx, "x", nil) }},
		{"work deletes a run", "$JS.API.STREAM.DELETE.PAWL_" + r.run + "_WORK", func() error { return r.work.DeleteQueue(r.ctx, r.run) }},
		{"watch publishes", "pawl." + r.run + ".work.a", func() error { return r.watch.Publish(r.ctx, r.run, "a", "2", nil) }},
		{"watch reports", "pawl." + r.run + ".log", func() error { return r.watch.Append(r.ctx, r.run, "2", nil) }},
		{"watch writes a key", "$KV.PAWL_" + r.run + ".k", func() error { _, err := k.Put(r.ctx, "k", nil); return err }},
		{"watch makes a lane", "$JS.API.CONSUMER", func() error { _, err := r.watch.Take(r.ctx, r.run, "new"); return err }},
		{"watch signals", "pawl.signal", func() error { return r.watch.Signal(r.ctx, "x") }},
	} {
		started := time.Now()
		err := c.call()
		if err == nil || !strings.Contains(err.Error(), "does not permit") || !strings.Contains(err.Error(), c.subject) {
			t.Errorf("%s: got error %v, want one with %q", c.name, err, c.subject)
		}
		if time.Since(started) > time.Minute {
			t.Errorf("%s: denied after %v", c.name, time.Since(started))
		}
	}
	r.wantWaiting(map[string]int{"a": 1})
}

func TestLimits(t *testing.T) {
	s := natstest.Start(t, natstest.Options{Replace: []string{"max_file_store: 4GB", "max_file_store: 1MB"}})
	r := newRig(t, func(t *testing.T, role string) fleet.Broker { return dial(t, s, role, lease) })
	r.publish()
	var err error
	for range 100 {
		if err = r.work.Append(r.ctx, r.run, "", make([]byte, 100<<10)); err != nil {
			break
		}
	}
	if err == nil || !strings.Contains(err.Error(), "reached a limit") {
		t.Errorf("got error %v", err)
	}
	err = r.work.Append(r.ctx, r.run, "", make([]byte, 2<<20))
	if err == nil || !strings.Contains(err.Error(), "max_payload") {
		t.Errorf("got error %v", err)
	}
}

func TestMaxBytes(t *testing.T) {
	s := natstest.Start(t, natstest.Options{})
	o := natsOptions(s, "")
	o.MaxBytes = 64 << 10
	r := newRig(t, func(t *testing.T, _ string) fleet.Broker {
		b, err := fleet.ConnectNATS(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		return b
	})
	r.publish()
	err := r.submit.Publish(r.ctx, r.run, "a", "1", make([]byte, 100<<10))
	if err == nil || !strings.Contains(err.Error(), "reached a limit") {
		t.Errorf("got error %v", err)
	}
}

// A consumer that does not know of the messages of its lane is made anew.
func TestStuckConsumer(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, natstest.Options{})
	o := natsOptions(s, "")
	o.Heal = time.Second
	r := newRig(t, func(t *testing.T, _ string) fleet.Broker {
		b, err := fleet.ConnectNATS(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		return b
	})
	r.publish("1", "2")
	nc, err := nats.Connect(s.URL())
	r.must(err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	r.must(err)
	stream := "PAWL_" + r.run + "_WORK"
	r.must(js.DeleteConsumer(r.ctx, stream, "la"))
	_, err = js.CreateConsumer(r.ctx, stream, jetstream.ConsumerConfig{ // it looks elsewhere
		Durable: "la", FilterSubject: "pawl." + r.run + ".work.elsewhere", AckPolicy: jetstream.AckExplicitPolicy, AckWait: lease,
	})
	r.must(err)
	r.must(r.take(r.work, "1", 1).Done(r.ctx))
	r.must(r.take(r.work, "2", 1).Done(r.ctx))
	r.takeNone(r.work)
}

// The settings of streams and consumers are part of the format.
func TestSettings(t *testing.T) {
	s := natstest.Start(t, natstest.Options{})
	r := newRig(t, func(t *testing.T, role string) fleet.Broker { return dial(t, s, role, lease) })
	r.publish()
	r.bucket(r.submit, time.Minute)
	nc, err := nats.Connect(s.URL())
	r.must(err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	r.must(err)
	config := func(stream string) jetstream.StreamConfig {
		s, err := js.Stream(r.ctx, stream)
		r.must(err)
		c := s.CachedInfo().Config
		if c.Storage != jetstream.FileStorage || c.Compression != jetstream.S2Compression || c.Discard != jetstream.DiscardNew || c.Replicas != 1 || c.MaxConsumers < 1000 || c.MaxBytes != -1 || c.MaxMsgs != -1 {
			r.Errorf("stream %s: %+v", stream, c)
		}
		return c
	}
	work := config("PAWL_" + r.run + "_WORK")
	if work.Retention != jetstream.WorkQueuePolicy || work.Duplicates != time.Hour || work.MaxAge != 0 {
		r.Errorf("work: %+v", work)
	}
	log := config("PAWL_" + r.run + "_LOG")
	if log.Retention != jetstream.LimitsPolicy || log.Duplicates != time.Hour || log.MaxAge != 0 {
		r.Errorf("log: %+v", log)
	}
	keys := config("KV_PAWL_" + r.run)
	if keys.MaxAge != time.Minute || keys.MaxMsgsPerSubject != 1 || keys.SubjectDeleteMarkerTTL != time.Hour || !keys.AllowDirect {
		r.Errorf("keys: %+v", keys)
	}
	c, err := js.Consumer(r.ctx, "PAWL_"+r.run+"_WORK", "lb")
	r.must(err)
	lane := c.CachedInfo().Config
	if lane.MaxDeliver != -1 || lane.AckWait != lease || lane.AckPolicy != jetstream.AckExplicitPolicy || lane.InactiveThreshold != 0 || lane.MaxAckPending != 1000 {
		r.Errorf("lane: %+v", lane)
	}
}

// TestLeaseOfWorkers checks that the lease of whoever takes messages counts, and not that of the submitter, which has created the
// lane.
func TestLeaseOfWorkers(t *testing.T) {
	s := natstest.Start(t, natstest.Options{Roles: true})
	r := newRig(t, func(t *testing.T, role string) fleet.Broker {
		if role == "work" {
			return dial(t, s, role, lease)
		}
		return dial(t, s, role, time.Hour)
	})
	r.publish("x")
	r.take(r.work, "x", 1)
	r.take(r.work, "x", 2)
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		monitor bool
		replace []string
		want    []string
	}{
		{"good", true, nil, nil},
		{"without a monitor", false, nil, []string{"it is not known whether the server syncs"}},
		{"without sync", true, []string{"sync_interval: always", ""}, []string{"does not sync each write"}},
		{"small messages", true, []string{"max_payload: 1MB", "max_payload: 64KB"}, []string{"max_payload"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := natstest.Start(t, natstest.Options{Replace: c.replace})
			o := natsOptions(s, "")
			if c.monitor {
				o.Monitor = s.Monitor()
			}
			b, err := fleet.ConnectNATS(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			wrong, err := b.Check(t.Context())
			if err != nil || len(wrong) != len(c.want) {
				t.Fatalf("got %q, error %v, want %q", wrong, err, c.want)
			}
			for i, w := range c.want {
				if !strings.Contains(wrong[i], w) {
					t.Errorf("got %q, want %q", wrong[i], w)
				}
			}
		})
	}
}

// startCluster starts three servers that share streams with three replicas.
func startCluster(t *testing.T) []*natstest.Server {
	t.Helper()
	var routes []string
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		routes = append(routes, l.Addr().String())
		l.Close()
	}
	var all []*natstest.Server
	for i, addr := range routes {
		all = append(all, natstest.Start(t, natstest.Options{Replace: []string{"\njetstream {", fmt.Sprintf(`
server_name: "s%d"
cluster {
  name: "c"
  listen: %q
  no_advertise: true
  routes: ["nats://%s"]
}
jetstream {`, i, addr, strings.Join(routes, `", "nats://`))}}))
	}
	return all
}

// Each of three servers is killed in turn, while clients go on.
func TestCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("elections of leaders take seconds")
	}
	t.Parallel()
	servers := startCluster(t)
	o := fleet.NATSOptions{Lease: 30 * time.Second, Replicas: 3}
	for _, s := range servers {
		o.URLs = append(o.URLs, s.URL())
	}
	r := newRig(t, func(t *testing.T, _ string) fleet.Broker {
		b, err := fleet.ConnectNATS(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		return b
	})
	r.publish("1", "2", "3")
	k := r.bucket(r.submit, 0)
	revision, err := k.Create(r.ctx, "n", []byte("0"))
	r.must(err)
	var want []string
	write := func() {
		for range 10 {
			entry := fmt.Sprint(len(want))
			want = append(want, entry)
			r.must(r.work.Append(r.ctx, r.run, entry, []byte(entry)))
			revision, err = k.Update(r.ctx, "n", []byte(entry), revision) // never a conflict with itself
			r.must(err)
		}
	}
	for i, s := range servers {
		write()
		m := r.take(r.work, fmt.Sprint(i+1), 1)
		s.Kill()
		write()
		r.must(m.Done(r.ctx))
		s.Restart()
	}
	r.wantLog(want...)
	r.wantWaiting(map[string]int{})
	_, err = k.Create(r.ctx, "n", nil)
	r.wantErr("Create", err, fleet.ErrConflict)
	r.must(k.Delete(r.ctx, "n", revision))
}
