package aria2rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"pawl/downloader/queue"
	"pawl/store"
)

// process processes a text as POST does, without HTTP.
func (r *rig) process(text string) (string, int) {
	h := New(r.queue, Options{Authorize: func(_ *http.Request, token string) bool { return token == secret }, Log: slog.New(slog.NewTextHandler(r.log, nil))}).(*handler)
	body, status := newExchange(h, httptest.NewRequest("POST", "/jsonrpc", nil)).process([]byte(text))
	return string(body), status
}

// additions returns n calls of addUri, as a batch or a multicall.
func additions(n int, multicall bool, prefix string) string {
	var calls []string
	for i := range n {
		format := `{"id":%d,"method":"aria2.addUri","params":["token:%s",["http://localhost:1/%s%[1]d"]]}`
		if multicall {
			format = `{"methodName":"aria2.addUri","x":%d,"params":["token:%s",["http://localhost:1/%s%[1]d"]]}`
		}
		calls = append(calls, fmt.Sprintf(format, i, secret, prefix))
	}
	all := "[" + strings.Join(calls, ",") + "]"
	if multicall {
		return `{"id":1,"method":"system.multicall","params":[` + all + `]}`
	}
	return all
}

// TestManyCalls checks that many calls in one request are answered, and that answers are bounded.
func TestManyCalls(t *testing.T) {
	r := newRig(t, 0)
	for _, multicall := range []bool{false, true} {
		body, status := r.process(additions(200, multicall, fmt.Sprint(multicall)))
		if n := strings.Count(body, "message"); status != 200 || n > 0 {
			t.Errorf("multicall %t: %d, %d errors", multicall, status, n)
		}
	}
	if s := r.queue.Summary(); s.Waiting != 400 {
		t.Fatalf("%+v", s)
	}
	if all := r.must("aria2.tellWaiting", 0, 5000).([]any); len(all) != 400 {
		t.Errorf("%d tasks", len(all))
	}
	h := New(r.queue, Options{Authorize: func(*http.Request, string) bool { return true }}).(*handler)
	x := newExchange(h, httptest.NewRequest("POST", "/jsonrpc", nil))
	x.authorize("")
	x.limit = 200_000
	answer, _ := x.process([]byte(`{"id":1,"method":"system.multicall","params":[[` + strings.Repeat(`{"methodName":"aria2.tellWaiting","params":[0,500]},`, 10) + `{}]]}`))
	if body := string(answer); len(body) > 204_000 || !strings.Contains(body, "ask for less at a time") || !strings.Contains(body, "[[") || !json.Valid(answer) {
		t.Errorf("%d bytes: %.100s", len(body), body)
	}
}

// TestAttacks sends harmful requests within the limit of their size.
func TestAttacks(t *testing.T) {
	r := newRig(t, 0)
	const limit = maxRequest / 8 // more takes long under the race detector, and shows nothing else
	many := func(s string, n int) string { return strings.Repeat(s, n) }
	for name, c := range map[string]struct {
		text string
		want string // part of the answer
	}{
		"deep lists":               {many("[", limit), "Parse error"},
		"deep objects":             {many(`{"id":`, limit/6), "Parse error"},
		"deep parameters":          {`{"id":1,"method":"x","params":[` + many("[", 1000) + many("]", 1000) + `]}`, "Parse error"},
		"many empty lists":         {"[" + many("[],", maxValues/2) + "[]]", "Parse error"},
		"many empty calls":         {"[" + many("{},", 9_999) + "{}]", "Invalid Request"},
		"many numbers":             {`{"id":1,"method":"x","params":[` + many("0,", 100_000) + `0]}`, "Unauthorized"},
		"a long id":                {`{"id":"` + many("x", limit-100) + `","method":"system.listMethods"}`, "aria2.addUri"},
		"a long method":            {`{"id":1,"method":"` + many("x", limit-100) + `","params":["token:` + secret + `"]}`, "No such method"},
		"a long token":             {`{"id":1,"method":"x","params":["token:` + many("x", limit-100) + `"]}`, "Unauthorized"},
		"a long URL":               {request("aria2.addUri", "token:"+secret, []string{"http://h/" + many("x", limit-200)}), ""},
		"a long GID":               {request("aria2.tellStatus", "token:"+secret, many("a", limit-200)), "Invalid GID"},
		"many URLs":                {request("aria2.addUri", "token:"+secret, strings.Split(many("http://h/x ", 5_000), " ")), "result"},
		"nested multicalls":        {`{"id":1,"method":"system.multicall","params":[[{"methodName":"system.multicall","params":[[{"methodName":"system.multicall","params":[[]]}]]}]]}`, "Recursive"},
		"many listMethods":         {`{"id":1,"method":"system.multicall","params":[[` + many(`{"methodName":"system.listMethods"},`, 5_000) + `{}]]}`, "Missing methodName"},
		"many unknown options":     {request("aria2.addUri", "token:"+secret, []string{"http://h/x"}, manyOptions(2_000)), "result"},
		"unclosed text":            {`{"id":"` + many("x", limit-100), "Parse error"},
		"many backslashes":         {`{"id":"` + many(`\\`, limit/2-100) + `","method":"system.listMethods"}`, "aria2.addUri"},
		"text that is not UTF-8":   {"{\"id\":\"\xff\xfe\",\"method\":\"system.listMethods\"}", "aria2.addUri"},
		"surrogates":               {`{"id":"\ud800","method":"\udfff","params":["token:` + secret + `"]}`, "No such method"},
		"numbers beyond all limit": {request("aria2.tellWaiting", "token:"+secret, json.RawMessage("1e999"), json.RawMessage("1"+many("0", 1000))), "wrong type"},
	} {
		body, _ := r.process(c.text)
		if len(body) > 10<<20 || !strings.Contains(body, c.want) || !json.Valid([]byte(strings.ToValidUTF8(body, "?"))) {
			t.Errorf("%s: got %.200s, want %s", name, body, c.want)
		}
	}
	if status, _ := r.post("[" + many(" ", maxRequest) + "]"); status != http.StatusRequestEntityTooLarge {
		t.Errorf("a body that is too large: %d", status)
	}
	if n := strings.Count(r.log.String(), "is ignored"); n > maxIgnored || n == 0 {
		t.Errorf("%d lines in the log", n)
	}
}

// TestLongOptionName checks that a name that is no option's is logged in short, and once.
func TestLongOptionName(t *testing.T) {
	r := newRig(t, 0)
	for range 2 {
		r.must("aria2.changeGlobalOption", map[string]string{strings.Repeat("z", 100_000): ""})
	}
	if n := len(r.log.String()); n > 1000 || n < 100 {
		t.Errorf("%d bytes in the log", n)
	}
}

func manyOptions(n int) map[string]string {
	all := make(map[string]string)
	for i := range n {
		all[fmt.Sprint("x", i)] = "y"
	}
	return all
}

// TestWrongTypes calls each method with values of all types in all places. Each call must have an answer, and only
// changes that make sense.
func TestWrongTypes(t *testing.T) {
	r := newRig(t, 0)
	gid := r.add("http://localhost:1/x", nil)
	values := []string{`null`, `true`, `0`, `-1`, `1.5`, `1e400`, `""`, `"` + gid + `"`, `"POS_SET"`, `[]`, `[5]`, `["x"]`, `{}`, `{"dir":5,"header":[[]],"out":null,"split":{}}`}
	names := methodNames()
	for _, name := range names {
		for n := range 4 {
			var calls []string
			for i := range values {
				for j := range values {
					p := []string{`"token:` + secret + `"`, values[(i+3*n)%len(values)], values[j], values[(i+j)%len(values)], values[(i*j)%len(values)]}
					calls = append(calls, fmt.Sprintf(`{"id":1,"method":%q,"params":[%s]}`, name, strings.Join(p[:1+n], ",")))
				}
			}
			var answers []reply
			body, _ := r.process("[" + strings.Join(calls, ",") + "]")
			if err := json.Unmarshal([]byte(body), &answers); err != nil || len(answers) != len(calls) {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	if all, _ := r.queue.Tasks(); len(all) > 1 {
		t.Errorf("%d tasks", len(all))
	}
}

// FuzzRequest processes any text. It must have an answer that is JSON.
func FuzzRequest(f *testing.F) {
	token := `"token:` + secret + `"`
	for _, seed := range []string{
		``, `[]`, `{}`, `5`, `{"id":1,"method":"aria2.addUri","params":[` + token + `,["http://localhost:1/x"],{"out":"a","header":["A: b"]},0]}`,
		`{"id":null,"method":"system.multicall","params":[[{"methodName":"aria2.tellStatus","params":[` + token + `,"0"]},5]]}`,
		`[{"id":1,"method":"aria2.tellWaiting","params":[` + token + `,-1,1000,["gid","files"]]},{"id":2,"method":"aria2.pauseAll","params":[` + token + `]}]`,
		`{"id":1,"method":"aria2.changeUri","params":[` + token + `,"0000",1,["x"],["http://localhost:1/y"],0]}`,
		`{"id":1,"method":"aria2.changeGlobalOption","params":[` + token + `,{"dir":"x","max-concurrent-downloads":"2"}]}`,
		`{"id":1,"method":"aria2.addMetalink","params":[` + token + `,"PG1ldGFsaW5rLz4="]}`,
		`{"id":1,"method":"aria2.changePosition","params":[` + token + `,"0",-5,"POS_END"]}`,
	} {
		f.Add([]byte(seed))
	}
	r := newRig(f, 0)
	h := New(r.queue, Options{Authorize: func(*http.Request, string) bool { return true }}).(*handler)
	f.Fuzz(func(t *testing.T, text []byte) {
		body, status := newExchange(h, httptest.NewRequest("POST", "/jsonrpc", nil)).process(text)
		if !json.Valid(bytes.ToValidUTF8(body, []byte("?"))) {
			t.Errorf("answer %q", body)
		}
		if status != 200 && status != 400 && status != 500 {
			t.Errorf("status %d", status)
		}
		if s := r.queue.Summary(); s.Waiting+s.Paused > 100 {
			unfinished, _ := r.queue.IDs()
			r.queue.Remove(false, unfinished...)
		}
		parseQuery(string(text))
	})
}

// TestSilentSocket checks that a WebSocket that does not read is closed, and that others are not held up.
func TestSilentSocket(t *testing.T) {
	r := newRig(t, 0)
	var ids []string
	for i := range 3 {
		ids = append(ids, r.add(fmt.Sprintf("http://localhost:1/%d", i), nil))
	}
	silent, _, err := websocket.Dial(t.Context(), strings.Replace(r.url, "http", "ws", 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.CloseNow()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for range 50 { // 50 answers of a megabyte do not fit into the buffers of a connection
		text := `{"id":1,"method":"system.multicall","params":[[` + strings.Repeat(`{"methodName":"system.listMethods"},`, 1000) + `{}]]}`
		if err := silent.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
			break // it is closed already
		}
	}
	l := r.listen()
	r.must("aria2.pause", ids[0])
	if got := r.dial()(request("aria2.getVersion", "token:"+secret)); !strings.Contains(got, aria2Version) {
		t.Errorf("got %s", got)
	}
	if l.of(ids[0]) != "" {
		t.Error("a pause of a download that did not run is told")
	}
}

// TestOutbox checks that a client that is too far behind loses its socket, and not the daemon its memory.
func TestOutbox(t *testing.T) {
	o := newOutbox()
	for range maxBehind {
		o.put(notification{onStart, "x"})
	}
	o.put(notification{onStart, "x"})
	if all, ok := o.take(); len(all) != maxBehind || ok {
		t.Errorf("%d, %t", len(all), ok)
	}
}

// TestMissedEvents checks that a notifier that was too slow for the queue sends the events that it has missed.
func TestMissedEvents(t *testing.T) {
	now := time.Now()
	s := &states{last: now, of: map[store.ID]queue.State{"started": queue.Waiting, "paused": queue.Active, "idle": queue.Waiting, "stopped": queue.Active, "done": queue.Active, "gone": queue.Waiting, "same": queue.Active}}
	task := func(id string, state queue.State) queue.Task {
		return queue.Task{ID: store.ID(id), State: state, Ended: now.Add(-time.Second)}
	}
	fresh := task("fresh", queue.Failed)
	fresh.Ended = now.Add(time.Second)
	got := fmt.Sprint(s.compare(
		[]queue.Task{task("started", queue.Active), task("paused", queue.Paused), task("idle", queue.Paused), task("same", queue.Active)},
		[]queue.Task{task("stopped", queue.Removed), task("done", queue.Complete), task("gone", queue.Removed), task("old", queue.Complete), fresh}))
	want := fmt.Sprint([]notification{{onStart, "started"}, {onPause, "paused"}, {onStop, "stopped"}, {onComplete, "done"}, {onError, "fresh"}})
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestNotifierEnds checks that nothing listens to the queue when no socket is open.
func TestNotifierEnds(t *testing.T) {
	r := newRig(t, 0)
	n := notifier{queue: r.queue}
	for range 100 {
		a, b := newOutbox(), newOutbox()
		n.add(a)
		n.add(b)
		n.remove(a)
		n.remove(b)
		if n.stop != nil {
			t.Fatal("it runs on")
		}
	}
}

func BenchmarkTellWaiting(b *testing.B) {
	r := newRig(b, 0)
	r.process(additions(1000, false, ""))
	text := request("aria2.tellWaiting", "token:"+secret, 0, 1000)
	for b.Loop() {
		r.process(text)
	}
}

func BenchmarkAdd1000(b *testing.B) {
	for _, multicall := range []bool{false, true} {
		b.Run(fmt.Sprint("multicall=", multicall), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				r := newRig(b, 0)
				text := additions(1000, multicall, "")
				b.StartTimer()
				r.process(text)
			}
		})
	}
}
