package aria2rpc

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// writeTimeout is how long a client may take to read a message.
const writeTimeout = 10 * time.Second

// A socket is a WebSocket whose messages are requests, and which gets notifications.
type socket struct {
	conn *websocket.Conn
	out  *outbox

	// answering is held from the moment when a request has come until it is answered, and for each notification, so
	// that a client knows the GID of a download before it hears of it.
	answering sync.Mutex
}

// serveSocket serves a WebSocket until it is closed.
func (h *handler) serveSocket(w http.ResponseWriter, r *http.Request) {
	if !h.options.CheckOrigin(r) {
		http.Error(w, "this origin is not allowed", http.StatusForbidden)
		return
	}
	release, ok := h.options.AcquireSocket()
	if !ok {
		http.Error(w, "there are too many WebSockets", http.StatusServiceUnavailable)
		return
	}
	defer release()
	out := newOutbox()
	h.notifier.add(out) // before the client knows that it is connected
	defer h.notifier.remove(out)
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true}) // CheckOrigin has decided
	if err != nil {
		return // Accept has answered
	}
	defer conn.CloseNow()
	conn.SetReadLimit(maxRequest)
	s := &socket{conn: conn, out: out}
	ctx, cancel := context.WithCancel(r.Context())
	var sending sync.WaitGroup
	sending.Go(func() {
		defer cancel() // ends the other loop
		s.notify(ctx)
	})
	s.read(ctx, h, r)
	cancel()
	conn.CloseNow()
	sending.Wait()
}

// read answers requests until ctx ends or the client closes the socket.
func (s *socket) read(ctx context.Context, h *handler, r *http.Request) {
	for {
		_, in, err := s.conn.Reader(ctx)
		if err != nil {
			return
		}
		text, err := io.ReadAll(in)
		if err != nil || !s.answer(ctx, h, r, text) {
			return
		}
	}
}

// answer answers a request. It reports false if the socket must be closed.
func (s *socket) answer(ctx context.Context, h *handler, r *http.Request, text []byte) bool {
	s.answering.Lock()
	defer s.answering.Unlock()
	release, err := h.enter(r, int64(len(text)))
	if err != nil {
		return false
	}
	x := newExchange(h, r)
	body, _ := x.process(text)
	release()
	err = s.write(ctx, body)
	x.end()
	return err == nil
}

// notify sends notifications until ctx ends or the client does not read them.
func (s *socket) notify(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.out.kick:
		}
		all, ok := s.out.take()
		for _, n := range all {
			if err := s.sendOne(ctx, n); err != nil {
				return
			}
		}
		if !ok {
			return
		}
	}
}

func (s *socket) sendOne(ctx context.Context, n notification) error {
	s.answering.Lock()
	defer s.answering.Unlock()
	return s.write(ctx, n.encode())
}

func (s *socket) write(ctx context.Context, message []byte) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return s.conn.Write(ctx, websocket.MessageText, message)
}
