package daemon

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"pawl/downloader/queue"
)

// A stream sends messages to one client.
type stream interface {
	// send sends the message that write writes, within a time.
	send(limit time.Duration, write func(io.Writer) error) error
	// ping shows that the stream is alive, within eventTime.
	ping() error
}

// getEvents sends events until the client goes, or does not read for eventTime.
func (s *Server) getEvents(w http.ResponseWriter, r *http.Request) error {
	if _, err := readQuery(r); err != nil {
		return err
	}
	release, ok := s.streams.acquire()
	if !ok {
		return errBusy
	}
	defer release()
	if isUpgrade(r) {
		// guard has checked the Origin.
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return nil // Accept has answered
		}
		defer c.CloseNow()
		ctx := c.CloseRead(s.ctx) // it ends when the client goes
		if s.sendEvents(ctx, webSocket{ctx, c}) == nil {
			c.Close(websocket.StatusGoingAway, "the daemon ends")
		}
		return nil
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would keep the events until there are enough
	if r.Method == http.MethodHead {
		return nil
	}
	rc := http.NewResponseController(w)
	rc.SetReadDeadline(time.Time{}) // net/http notices by a read that the client has gone
	s.sendEvents(r.Context(), eventStream{w, rc})
	return nil
}

// sendEvents sends the state and then events. It returns an error if the client has gone, and nil at the end of the daemon.
func (s *Server) sendEvents(ctx context.Context, to stream) error {
	sub := s.hub.subscribe()
	defer s.hub.unsubscribe(sub)
	sub.behind.Store(true) // the state comes first
	sub.events <- nil
	ping := time.NewTicker(pingTime)
	defer ping.Stop()
	for {
		var err error
		select {
		case <-s.ctx.Done():
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-ping.C:
			err = to.ping()
		case text := <-sub.events:
			sub.noteReceived(text)
			if sub.behind.Load() {
				sub.drop()
				err = to.send(answerTime, s.writeHello)
			} else {
				err = to.send(eventTime, func(w io.Writer) error {
					_, err := w.Write(text)
					return err
				})
			}
		}
		if err != nil {
			return err
		}
	}
}

// drop drops the events that wait, before the state is sent again.
func (sub *subscriber) drop() {
	for {
		select {
		case text := <-sub.events:
			sub.noteReceived(text)
		default:
			sub.behind.Store(false) // an event from now on is sent after the state, which may contain it
			return
		}
	}
}

// writeHello writes the event with the whole state, task by task.
func (s *Server) writeHello(w io.Writer) error {
	head, err := encode(struct {
		Event  string    `json:"event"`
		Time   time.Time `json:"time"`
		Status Status    `json:"status"`
	}{helloKind, time.Now(), s.status()})
	if err != nil {
		return err
	}
	if _, err := w.Write(append(head[:len(head)-1], `,"tasks":`...)); err != nil {
		return err
	}
	array := arrayWriter{w: w}
	if err := s.eachTask(func(t *Task) error { return array.add(t) }); err != nil {
		return err
	}
	if err := array.end(); err != nil {
		return err
	}
	_, err = io.WriteString(w, "}")
	return err
}

// An eventStream sends server-sent events (HTML Standard §9.2).
type eventStream struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

func (e eventStream) send(limit time.Duration, write func(io.Writer) error) error {
	if err := e.rc.SetWriteDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	if _, err := io.WriteString(e.w, "data: "); err != nil {
		return err
	}
	if err := write(e.w); err != nil {
		return err
	}
	if _, err := io.WriteString(e.w, "\n\n"); err != nil {
		return err
	}
	return e.rc.Flush()
}

func (e eventStream) ping() error {
	if err := e.rc.SetWriteDeadline(time.Now().Add(eventTime)); err != nil {
		return err
	}
	if _, err := io.WriteString(e.w, ":\n\n"); err != nil { // a comment
		return err
	}
	return e.rc.Flush()
}

// A webSocket sends each event as a message.
type webSocket struct {
	ctx context.Context
	c   *websocket.Conn
}

func (s webSocket) send(limit time.Duration, write func(io.Writer) error) error {
	ctx, cancel := context.WithTimeout(s.ctx, limit)
	defer cancel()
	w, err := s.c.Writer(ctx, websocket.MessageText)
	if err != nil {
		return err
	}
	if err := write(w); err != nil {
		return err
	}
	return w.Close()
}

func (s webSocket) ping() error {
	ctx, cancel := context.WithTimeout(s.ctx, eventTime)
	defer cancel()
	return s.c.Ping(ctx)
}

// showWithPosition returns a task of an event.
func (s *Server) showWithPosition(t queue.Task) *Task {
	shown := s.show(t)
	if n, ok := s.queue.Position(t.ID); ok {
		shown.Position = &n
	}
	return shown
}
