package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pawl/downloader/fleet"
	"pawl/downloader/fleet/fakebroker"
	"pawl/downloader/fleet/natstest"
	"pawl/downloader/mirror"
)

// A tallyRig has a run whose log the test writes, and the counts that a status of it must have.
type tallyRig struct {
	*testing.T
	b       fleet.Broker
	rand    *rand.Rand
	entries int
	sent    map[string]bool
	ended   map[string]mirror.State
	status  fleet.Status // Bytes, Problems and Retries
}

const tallyRun = "aa-1"

func newTallyRig(t *testing.T, b fleet.Broker) *tallyRig {
	r := &tallyRig{T: t, b: b, rand: rand.New(rand.NewPCG(1, 2)), sent: make(map[string]bool), ended: make(map[string]mirror.State)}
	if run, err := fleet.OpenRun(t.Context(), b, "aa", fleet.Run{}); err != nil || run.ID != tallyRun {
		t.Fatal(run, err)
	}
	return r
}

func (r *tallyRig) append(report fleet.Report) {
	r.Helper()
	report.Version, report.Time = 1, time.Now()
	r.entries++
	if err := r.b.Append(r.Context(), tallyRun, fmt.Sprint(r.entries), fleet.Encode(report)); err != nil {
		r.Fatal(err)
	}
}

// grow appends n groups of about 4,000 IDs, of which some have come before: a submitter that has died queues some files again, and a
// worker that has died leaves some outcomes to be told again. Some IDs are not numbers.
func (r *tallyRig) grow(n int) {
	r.Helper()
	id := func() string {
		n := r.rand.IntN(20_000)
		if n%1000 == 0 {
			return fmt.Sprint("file ", n)
		}
		return fmt.Sprintf("%016x", uint64(n)*0x9e3779b97f4a7c15)
	}
	states := []mirror.State{mirror.Fetched, mirror.Failed, mirror.Current, mirror.Unchanged, mirror.Pending}
	for range n {
		report := fleet.Report{Retry: &fleet.Retry{Batch: "b", Round: 2, Files: 1 + r.rand.IntN(9), NotBefore: time.Now().Add(time.Hour)}}
		r.status.Retries = append(r.status.Retries, *report.Retry)
		for range 3000 {
			report.Sent = append(report.Sent, id())
		}
		for range 1000 {
			e := fleet.Ended{ID: id(), State: states[r.rand.IntN(len(states))], Again: r.rand.IntN(10) == 0, Result: fleet.Result{Fetched: 7}}
			report.Ended = append(report.Ended, e)
			r.status.Bytes += 7
			if _, twice := r.ended[e.ID]; !twice && !e.Again && e.State != mirror.Pending {
				r.ended[e.ID], r.sent[e.ID] = e.State, true
			}
		}
		for _, id := range report.Sent {
			r.sent[id] = true
		}
		report.Problems = []fleet.Problem{{Error: "x"}}
		r.status.Problems++
		r.append(report)
	}
}

// keys returns the keys of segments.
func (r *tallyRig) keys(run string) map[string]fleet.Value {
	r.Helper()
	bucket, err := r.b.Bucket(r.Context(), "PAWL_"+run, 0)
	if err != nil {
		r.Fatal(err)
	}
	keys, err := bucket.List(r.Context(), "tally.")
	if err != nil {
		r.Fatal(err)
	}
	return keys
}

// wantStatus checks the status, and how many segments there are afterwards.
func (r *tallyRig) wantStatus(b fleet.Broker, segments int) {
	r.Helper()
	got, err := fleet.StatusOf(r.Context(), b, tallyRun)
	if err != nil {
		r.Fatal(err)
	}
	ended := make(map[mirror.State]int)
	for _, state := range r.ended {
		ended[state]++
	}
	for i := range got.Retries {
		if !got.Retries[i].NotBefore.Equal(r.status.Retries[i].NotBefore) || got.Retries[i].Files != r.status.Retries[i].Files {
			r.Errorf("retry %d: got %+v, want %+v", i, got.Retries[i], r.status.Retries[i])
		}
	}
	text := func(sent int, ended map[mirror.State]int, s fleet.Status) string {
		return fmt.Sprint(sent, ended, s.Bytes, s.Problems, len(s.Retries))
	}
	if got, want := text(got.Sent, got.Ended, got), text(len(r.sent), ended, r.status); got != want {
		r.Errorf("status: got %s, want %s", got, want)
	}
	if keys := r.keys(tallyRun); len(keys) != segments {
		r.Errorf("got segments %q, want %d", slices.Sorted(maps.Keys(keys)), segments)
	}
}

// A logCounter counts the entries of logs that are read.
type logCounter struct {
	fleet.Broker
	entries int
}

func (c *logCounter) Log(ctx context.Context, run string, after uint64) iter.Seq2[fleet.LogEntry, error] {
	return func(yield func(fleet.LogEntry, error) bool) {
		for e, err := range c.Broker.Log(ctx, run, after) {
			if e.Data != nil {
				c.entries++
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// A status is exact however much of the log has a tally, and reads only the rest of the log.
func TestTally(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		r := newTallyRig(t, fakebroker.New().Connect("test"))
		r.wantStatus(r.b, 0)
		for _, step := range []struct{ grow, segments, most int }{{4, 0, 4}, {1, 1, 5}, {0, 1, 1}, {9, 2, 10}, {1, 3, 6}, {0, 3, 1}, {4, 3, 5}} {
			r.grow(step.grow)
			counter := &logCounter{Broker: r.b}
			r.wantStatus(counter, step.segments)
			if counter.entries > step.most {
				t.Errorf("after %d entries: the status has read %d of the log, want at most %d", r.entries, counter.entries, step.most)
			}
		}
	})
}

// A segment is a small message even if each outcome, and each retry, is an entry of its own, as for large files.
func TestTallySize(t *testing.T) {
	for name, report := range map[string]func(i int) fleet.Report{
		"outcomes": func(i int) fleet.Report {
			return fleet.Report{Ended: []fleet.Ended{{ID: fmt.Sprintf("%016x", i), State: mirror.Fetched}}}
		},
		"retries": func(i int) fleet.Report {
			return fleet.Report{Retry: &fleet.Retry{Batch: fmt.Sprintf("%016x", i), Round: 2, Files: 1, NotBefore: time.Now()}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			natstest.Bubble(t, func(t *testing.T) {
				r := newTallyRig(t, fakebroker.New().Connect("test"))
				for i := range 17_000 {
					r.append(report(i))
				}
				if _, err := fleet.StatusOf(t.Context(), r.b, tallyRun); err != nil {
					t.Fatal(err)
				}
				keys := r.keys(tallyRun)
				if len(keys) == 0 {
					t.Error("there is no segment")
				}
				for key, v := range keys {
					if n := len(v.Data); n > 225<<10 {
						t.Errorf("%s has %d bytes", key, n)
					}
				}
			})
		})
	}
}

// The submitter writes the tally while it collects, and the next submitter queues no file again that the tally has.
func TestTallySubmitter(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		r := newTallyRig(t, fakebroker.New().Connect("test"))
		r.grow(3)
		ctx, stop := context.WithCancel(t.Context())
		run, err := fleet.ReadRun(ctx, r.b, tallyRun)
		if err != nil {
			t.Fatal(err)
		}
		s, err := fleet.OpenSubmitter(ctx, r.b, fleet.SubmitterOptions{Run: run, Dir: "/d"})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan int)
		go func() {
			n := 0
			for range s.Outcomes(ctx) {
				n++
			}
			done <- n
		}()
		r.grow(8)
		synctest.Wait()
		if n := len(r.keys(tallyRun)); n != 2 {
			t.Errorf("the submitter has written %d segments, want 2", n)
		}
		stop()
		if n := <-done; n < len(r.ended) {
			t.Errorf("got %d outcomes, want at least %d", n, len(r.ended))
		}
		s.Close(t.Context())
		counter := &logCounter{Broker: r.b}
		if s, err = fleet.OpenSubmitter(t.Context(), counter, fleet.SubmitterOptions{Run: run, Dir: "/d"}); err != nil {
			t.Fatal(err)
		}
		s.Close(t.Context())
		if counter.entries > 2 {
			t.Errorf("the next submitter has read %d entries of the log, want at most 2", counter.entries)
		}
		r.wantStatus(r.b, 2)
	})
}

// A forgetful broker loses an entry while the log is read: afterwards another one has its number.
type forgetful struct {
	fleet.Broker
	lost *fleet.LogEntry
}

func (b *forgetful) Log(ctx context.Context, run string, after uint64) iter.Seq2[fleet.LogEntry, error] {
	return func(yield func(fleet.LogEntry, error) bool) {
		for e, err := range b.Broker.Log(ctx, run, after) {
			if b.lost != nil && e.Seq == b.lost.Seq {
				break
			}
			if !yield(e, err) {
				return
			}
		}
		if b.lost != nil && yield(*b.lost, nil) {
			b.Broker.Log(ctx, run, 0)(yield)
		}
	}
}

// The submitter writes no segment with entries that the broker has lost.
func TestTallyLostEntry(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		r := newTallyRig(t, fakebroker.New().Connect("test"))
		run, err := fleet.ReadRun(t.Context(), r.b, tallyRun)
		if err != nil {
			t.Fatal(err)
		}
		b := &forgetful{Broker: r.b}
		s, err := fleet.OpenSubmitter(t.Context(), b, fleet.SubmitterOptions{Run: run, Dir: "/d"})
		if err != nil {
			t.Fatal(err)
		}
		r.grow(6)
		b.lost = &fleet.LogEntry{Seq: 5, Data: fleet.Encode(fleet.Report{Version: 1, Sent: []string{"lost"}})}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range s.Outcomes(ctx) {
			}
		}()
		synctest.Wait()
		stop()
		<-done
		s.Close(t.Context())
		r.wantStatus(r.b, 1)
	})
}

// Segments that this version cannot read, or that are of entries which the broker has lost, do not count.
func TestTallyDamage(t *testing.T) {
	for name, damage := range map[string]func(r *tallyRig, bucket fleet.Bucket){
		"of a newer version": func(r *tallyRig, bucket fleet.Bucket) {
			bucket.Put(r.Context(), "tally.5", []byte(`{"v":2,"after":5,"last":10}`+"\n"))
		},
		"cut off": func(r *tallyRig, bucket fleet.Bucket) {
			v, _ := bucket.Get(r.Context(), "tally.5")
			bucket.Put(r.Context(), "tally.5", v.Data[:len(v.Data)-1])
		},
		"of another log": func(r *tallyRig, bucket fleet.Bucket) {
			other := newTallyRig(r.T, fakebroker.New().Connect("other"))
			other.rand = rand.New(rand.NewPCG(3, 4))
			other.grow(15)
			other.wantStatus(other.b, 3)
			for key, v := range other.keys(tallyRun) {
				if key != "tally.0" {
					bucket.Put(r.Context(), key, v.Data)
				}
			}
		},
		"behind the end of the log": func(r *tallyRig, bucket fleet.Bucket) {
			v, _ := bucket.Get(r.Context(), "tally.5")
			text := strings.Replace(string(v.Data), `"after":5,"last":10`, `"after":10,"last":15`, 1)
			if text == string(v.Data) {
				r.Fatal("there is no such segment")
			}
			bucket.Put(r.Context(), "tally.10", []byte(text))
		},
		"of a newer version, behind one of another log": func(r *tallyRig, bucket fleet.Bucket) {
			v, _ := bucket.Get(r.Context(), "tally.0")
			bucket.Put(r.Context(), "tally.0", []byte(strings.Replace(string(v.Data), `"check":"`, `"check":"AAAA`, 1)))
			bucket.Put(r.Context(), "tally.5", []byte(`{"v":2,"after":5,"last":10}`+"\n"))
			if _, err := fleet.StatusOf(r.Context(), r.b, tallyRun); err != nil {
				r.Error(err)
			}
			bucket.Delete(r.Context(), "tally.5", 0) // by the newer version
		},
	} {
		t.Run(name, func(t *testing.T) {
			natstest.Bubble(t, func(t *testing.T) {
				r := newTallyRig(t, fakebroker.New().Connect("test"))
				r.grow(11)
				r.wantStatus(r.b, 2)
				bucket, err := r.b.Bucket(t.Context(), "PAWL_"+tallyRun, 0)
				if err != nil {
					t.Fatal(err)
				}
				damage(r, bucket)
				r.wantStatus(r.b, 2)
				r.grow(1)
				r.wantStatus(r.b, 2)
			})
		})
	}
}

// A readOnly broker refuses to write keys, as a server does for users with the role "watch".
type readOnly struct{ fleet.Broker }

type readOnlyBucket struct{ fleet.Bucket }

func (b readOnly) Bucket(ctx context.Context, name string, expiry time.Duration) (fleet.Bucket, error) {
	k, err := b.Broker.Bucket(ctx, name, expiry)
	return readOnlyBucket{k}, err
}

func (readOnlyBucket) Create(context.Context, string, []byte) (uint64, error) {
	return 0, errors.New("not permitted")
}

// Somebody who may only read has the same status.
func TestTallyReadOnly(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		r := newTallyRig(t, fakebroker.New().Connect("test"))
		r.grow(11)
		r.wantStatus(readOnly{r.b}, 0)
		r.wantStatus(r.b, 2)
		r.wantStatus(readOnly{r.b}, 2)
	})
}

// A user with the role "watch" has the same status, without the permission to write.
func TestTallyRoles(t *testing.T) {
	s := natstest.Start(t, natstest.Options{Roles: true})
	r := newTallyRig(t, dial(t, s, "submit", lease))
	r.grow(11)
	r.wantStatus(dial(t, s, "watch", lease), 0)
	r.wantStatus(r.b, 2)
	r.wantStatus(dial(t, s, "watch", lease), 2)
}

// BenchmarkStatus measures the status of a run with a million files whose outcomes have a tally.
func BenchmarkStatus(b *testing.B) {
	broker := fakebroker.New().Connect("test")
	if _, err := fleet.OpenRun(b.Context(), broker, "aa", fleet.Run{}); err != nil {
		b.Fatal(err)
	}
	for i := range 250 {
		r := fleet.Report{Version: 1}
		for j := range 4000 {
			id := fmt.Sprintf("%016x", uint64(i*4000+j)*0x9e3779b97f4a7c15)
			r.Sent, r.Ended = append(r.Sent, id), append(r.Ended, fleet.Ended{ID: id, State: mirror.Fetched})
		}
		if err := broker.Append(b.Context(), tallyRun, fmt.Sprint(i), fleet.Encode(r)); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if s, err := fleet.StatusOf(b.Context(), broker, tallyRun); err != nil || s.Sent != 1_000_000 {
			b.Fatal(s.Sent, err)
		}
	}
}
