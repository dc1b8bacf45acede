package daemon

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"pawl/downloader/faultserver"
	"pawl/downloader/queue"
)

// dialEvents opens a WebSocket with events.
func (r *rig) dialEvents() (*websocket.Conn, *http.Response, error) {
	c, res, err := websocket.Dial(r.t.Context(), "ws://"+r.address+apiPrefix+"/events", &websocket.DialOptions{
		HTTPClient: r.client.HTTP, HTTPHeader: http.Header{"Authorization": {"Bearer " + secret}},
	})
	if err == nil {
		c.SetReadLimit(1 << 30)
		r.t.Cleanup(func() { c.CloseNow() })
	}
	return c, res, err
}

// TestEvents checks that SSE and WebSockets have the same events, in the order of what happens.
func TestEvents(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.files.Set(faultserver.Rate(1 << 20))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var sse, ws []Event
		done := make(chan struct{}, 2)
		go func() {
			for e, err := range r.client.Events(ctx) {
				if err == nil {
					sse = append(sse, e)
				}
			}
			done <- struct{}{}
		}()
		c, _, err := r.dialEvents()
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			defer func() { done <- struct{}{} }()
			for {
				_, text, err := c.Read(ctx)
				if err != nil {
					return
				}
				var e Event
				if err := json.Unmarshal(text, &e); err != nil {
					t.Errorf("%v in %s", err, text)
				}
				ws = append(ws, e)
			}
		}()
		synctest.Wait()
		time.Sleep(time.Second)
		a := r.api("POST", "/tasks", `{"urls":["`+r.put("f.bin", 4<<20)+`"],"header":["X-Secret: s"]}`)
		var task Task
		if err := json.Unmarshal([]byte(a.body), &task); err != nil {
			t.Fatal(err)
		}
		r.await(task.ID, queue.Active)
		time.Sleep(2500 * time.Millisecond)
		if err := r.queue.Pause(task.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		r.api("PATCH", "/tasks/"+string(task.ID), `{"limit_rate":10000000}`)
		r.api("PATCH", "/tasks/"+string(task.ID), `{"position":0}`)
		r.api("POST", "/tasks/resume", "")
		r.await(task.ID, queue.Complete)
		time.Sleep(10 * time.Second)
		r.api("DELETE", "/tasks/"+string(task.ID), "")
		time.Sleep(time.Minute)
		cancel()
		<-done
		<-done
		for name, events := range map[string][]Event{"SSE": sse, "WebSocket": ws} {
			var kinds []string
			progress := 0
			for _, e := range events {
				switch {
				case e.Event == progressKind:
					if progress++; e.Rate > 2<<20 || len(e.Tasks) > 1 {
						t.Errorf("%s: got %+v", name, e)
					}
				case e.Event == helloKind:
					if e.Status == nil || e.Status.Version != "1.2.3" || len(e.Tasks) != 0 {
						t.Errorf("%s: got %+v", name, e)
					}
					kinds = append(kinds, e.Event)
				default:
					if e.Task == nil || e.Task.ID != task.ID || e.Time.IsZero() {
						t.Errorf("%s: got %+v", name, e)
					}
					kinds = append(kinds, e.Event)
				}
			}
			if got, want := strings.Join(kinds, " "), "hello added started paused changed moved resumed started complete forgotten"; got != want {
				t.Errorf("%s: got %s, want %s", name, got, want)
			}
			if progress < 3 || progress > 8 {
				t.Errorf("%s: %d messages about the progress of about 4 seconds", name, progress)
			}
		}
	})
}

// TestHelloAgain checks that a client that is behind gets the whole state, and no event twice or too few.
func TestHelloAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		c := r.dial()
		fmt.Fprintf(c, "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n%s\r\n\r\n", withSecret)
		synctest.Wait()
		var all []Addition
		for i := range maxBehind + 100 {
			all = append(all, Addition{URLs: []string{fmt.Sprintf("http://127.0.0.1/%d", i)}, Paused: true})
		}
		if _, err := r.client.Add(t.Context(), all...); err != nil {
			t.Fatal(err)
		}
		time.Sleep(eventTime / 2) // while it does not read
		known := make(map[string]bool)
		hellos := 0
		go func() {
			time.Sleep(eventTime)
			c.Close()
		}()
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		for in := bufio.NewReader(res.Body); ; {
			line, err := in.ReadBytes('\n')
			if err != nil {
				break
			}
			text, ok := strings.CutPrefix(string(line), "data: ")
			if !ok {
				continue
			}
			var e Event
			if err := json.Unmarshal([]byte(text), &e); err != nil {
				t.Fatalf("%v in %.200s", err, line)
			}
			if e.Event == helloKind {
				hellos++
				clear(known)
			}
			for _, task := range e.Tasks {
				known[string(task.ID)] = true
			}
			if e.Task != nil {
				known[string(e.Task.ID)] = true
			}
		}
		if len(known) != len(all) || hellos != 2 {
			t.Errorf("after %d hellos, the client knows %d tasks, want %d", hellos, len(known), len(all))
		}
	})
}

// TestManyStreams checks that streams which do not read are few, take little, and are dropped.
func TestManyStreams(t *testing.T) {
	for _, kind := range []string{"SSE", "WebSocket"} {
		t.Run(kind, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t, nil)
				synctest.Wait()
				memory := heap()
				accepted, refused := 0, 0
				for range 200 {
					fields := ""
					if kind == "WebSocket" {
						fields = "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
					}
					c := r.dial()
					fmt.Fprintf(c, "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n%s%s\r\n\r\n", withSecret, fields)
					status := make([]byte, len("HTTP/1.1 200"))
					if _, err := io.ReadFull(c, status); err != nil {
						t.Fatal(err)
					}
					switch string(status[9:]) {
					case "200", "101":
						accepted++
					case "503":
						refused++
					}
				}
				if accepted != maxStreams || refused != 200-maxStreams {
					t.Errorf("%d were accepted, %d refused", accepted, refused)
				}
				if kind == "SSE" { // fill what is on the wire
					task, err := r.client.Add(t.Context(), Addition{URLs: []string{"http://127.0.0.1/" + strings.Repeat("x", 10_000)}, Paused: true})
					if err != nil {
						t.Fatal(err)
					}
					for i := range int64(400) {
						if err := r.queue.Change(task[0].ID, func(s *queue.Spec) error { s.LimitRate = i; return nil }); err != nil {
							t.Fatal(err)
						}
						if i%100 == 0 {
							synctest.Wait()
						}
					}
				}
				synctest.Wait()
				t.Logf("%d %s streams that do not read: %d KiB, of which %d KiB are on the wire", accepted, kind, (heap()-memory)>>10, accepted*128)
				time.Sleep(pingTime + eventTime + time.Second)
				if n := len(r.server.streams); n != 0 {
					t.Errorf("%d are still there", n)
				}
				if _, _, err := r.dialEvents(); err != nil {
					t.Errorf("the next one: %v", err)
				}
			})
		})
	}
}

// TestStreamsEnd checks that streams end with the daemon, at once, and that a client that has gone takes nothing.
func TestStreamsEnd(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() {
			for _, err := range r.client.Events(ctx) {
				if err != nil {
					gone <- err
				}
			}
		}()
		time.Sleep(time.Second)
		if n := len(r.server.streams); n != 1 {
			t.Fatalf("%d streams", n)
		}
		cancel()
		<-gone
		synctest.Wait()
		time.Sleep(time.Second)
		if n := len(r.server.streams); n != 0 {
			t.Errorf("%d streams after the client has gone", n)
		}
		for range 3 {
			if _, _, err := r.dialEvents(); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(r.dial(), "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n%s\r\n\r\n", withSecret)
		}
		c := r.dial() // an open request, and one with half a header
		fmt.Fprintf(c, "POST /api/v1/tasks HTTP/1.1\r\nHost: localhost\r\n%s\r\nContent-Length: 10\r\n\r\n", withSecret)
		fmt.Fprintf(r.dial(), "GET /")
		synctest.Wait()
		start := time.Now()
		r.stop()
		if took := time.Since(start); took > 3*stopTime/2 {
			t.Errorf("the end took %v", took)
		}
		if n := r.server.conns.count(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
}

// TestLongStream checks that the time limits of requests do not end a stream, and that a silent one shows that
// it is alive.
func TestLongStream(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		ws, _, err := r.dialEvents()
		if err != nil {
			t.Fatal(err)
		}
		var kinds []string
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for {
				_, text, err := ws.Read(t.Context())
				if err != nil {
					return
				}
				var e Event
				json.Unmarshal(text, &e)
				kinds = append(kinds, e.Event)
			}
		}()
		c := r.dial()
		fmt.Fprintf(c, "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n%s\r\n\r\n", withSecret)
		var lines []string
		go func() {
			time.Sleep(time.Hour)
			if _, err := r.client.Add(t.Context(), Addition{URLs: []string{"http://127.0.0.1/f"}, Paused: true}); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Second)
			c.Close()
			ws.CloseNow()
		}()
		for in := bufio.NewScanner(c); in.Scan(); {
			lines = append(lines, in.Text())
		}
		<-ended
		pings := 0
		for _, line := range lines {
			if line == ":" {
				pings++
			}
		}
		if pings < 100 || !strings.Contains(strings.Join(lines, "\n"), `"event":"added"`) {
			t.Errorf("%d pings, and the end is %q", pings, lines[len(lines)-3:])
		}
		if !slices.Equal(kinds, []string{"hello", "added"}) {
			t.Errorf("the WebSocket has sent %q", kinds)
		}
	})
}

// TestIdle checks that a daemon without running tasks has no timer that ticks.
func TestIdle(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		if _, err := r.client.Add(t.Context(), Addition{URLs: []string{r.put("f.bin", 1000)}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if r.server.hub.isMeasuring() || r.server.Rate() != 0 {
			t.Errorf("it measures, and the rate is %d", r.server.Rate())
		}
	})
}
