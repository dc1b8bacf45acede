package aria2rpc

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pawl/chunk"
	"pawl/downloader/aria2"
	"pawl/downloader/queue"
	"pawl/store"
)

// TestOptionTable checks that the table and the code have the same options.
func TestOptionTable(t *testing.T) {
	global := []string{"max-concurrent-downloads", "max-overall-download-limit"}
	for _, o := range aria2.Options {
		_, applied := options[o.Name]
		applied = applied || slices.Contains(global, o.Name)
		if want := o.RPC&(aria2.RPCAdd|aria2.RPCChange|aria2.RPCGlobal) != 0; applied != want {
			t.Errorf("%s: the table says %t, and the code %t", o.Name, want, applied)
		}
		if _, refused := refusals[o.Name]; refused != (o.RPC == aria2.RPCRefuse) {
			t.Errorf("%s: refused in one of them only", o.Name)
		}
	}
	for name := range options {
		if _, ok := aria2.Lookup(name); !ok {
			t.Errorf("%s is no option", name)
		}
	}
}

func TestBitfield(t *testing.T) {
	const MiB = 1 << 20
	for _, c := range []struct {
		size int64
		held chunk.Set
		want string
	}{
		{3 * MiB, chunk.NewSet(chunk.Range{End: 3 * MiB}), "e0"},
		{3 * MiB, chunk.NewSet(), "00"},
		{3*MiB - 1, chunk.NewSet(chunk.Range{Off: 2 * MiB, End: 3*MiB - 1}), "20"},
		{3 * MiB, chunk.NewSet(chunk.Range{Off: 1, End: 2*MiB - 1}, chunk.Range{Off: 2*MiB - 1 + 1, End: 3 * MiB}), "20"},
		{9 * MiB, chunk.NewSet(chunk.Range{End: 9 * MiB}), "ff80"},
		{10, chunk.NewSet(chunk.Range{End: 9}), "00"},
	} {
		if got := bitfield(c.size, &c.held); got != c.want {
			t.Errorf("%d %v: got %s, want %s", c.size, c.held, got, c.want)
		}
	}
	for _, size := range []int64{1, MiB, maxPieces * MiB, maxPieces*MiB + 1, 1 << 40, 1<<62 + 1} {
		n, length := countPieces(size), pieceLength(size)
		if n > maxPieces || n < 1 || (size-1)/length+1 != n || n > 1 && n <= maxPieces/2 && length > minPiece {
			t.Errorf("%d: %d pieces of %d", size, n, length)
		}
	}
}

// TestBitfieldModel compares bitfields with a slow and simple computation.
func TestBitfieldModel(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		size := 1 + random.Int64N(40<<20)
		var held chunk.Set
		for range random.IntN(5) {
			off := random.Int64N(size)
			held.Add(chunk.Range{Off: off, End: min(size, off+random.Int64N(8<<20))})
		}
		want := make([]byte, (countPieces(size)+7)/8)
		for i := range countPieces(size) {
			if held.Contains(chunk.Range{Off: i * minPiece, End: min(size, (i+1)*minPiece)}) {
				want[i/8] |= 0x80 >> (i % 8)
			}
		}
		if got := bitfield(size, &held); got != fmt.Sprintf("%x", want) {
			t.Fatalf("%d %v: got %s, want %x", size, held, got, want)
		}
	}
}

func TestQuery(t *testing.T) {
	b64 := base64.StdEncoding.EncodeToString([]byte(`["token:x>?~"]`))
	for _, c := range []struct{ raw, text, callback string }{
		{"method=m&id=1&params=" + b64, `{"method":"m","id":"1","params":["token:x>?~"]}`, ""},
		{"method=m&id=1&params=" + strings.ReplaceAll(b64, "=", "%3D"), `{"method":"m","id":"1","params":["token:x>?~"]}`, ""},
		{"method=m%22&jsoncallback=a.b", `{"method":"m\""}`, "a.b"},
		{"params=W10", `[]`, ""},
		{"params=W10&jsoncallback=alert(1)", `[]`, ""},
		{"", "", ""},
		{"params=%zz", "", ""},
	} {
		q := parseQuery(c.raw)
		if q.text != c.text || q.callback != c.callback {
			t.Errorf("%s: got %q and %q", c.raw, q.text, q.callback)
		}
	}
}

func TestRates(t *testing.T) {
	var r rates
	now := time.Now()
	if _, ok := r.measure("a", 100, now); ok {
		t.Error("a rate after one sample")
	}
	for i := range 20 {
		now = now.Add(time.Second)
		if rate, ok := r.measure("a", int64(100+(i+1)*500), now); rate != 500 || !ok {
			t.Errorf("got %d, %t", rate, ok)
		}
	}
	if _, ok := r.measure("a", 10, now.Add(time.Second)); ok {
		t.Error("a rate of another run")
	}
	r.measure("b", 1, now.Add(time.Hour))
	if len(r.series) != 1 {
		t.Errorf("%d series", len(r.series))
	}
}

// TestOptions checks the effects of options on a download.
func TestOptions(t *testing.T) {
	r := newRig(t, 0)
	sum := strings.Repeat("ab", 32)
	for _, c := range []struct {
		options string
		want    string // options that getOption returns, or the end of an error
	}{
		{`{"dir":"sub","out":"x/y"}`, `"dir":"$ROOT/sub","out":"x/y"`},
		{`{"dir":"$ROOT/deep/er"}`, `"dir":"$ROOT/deep/er"`},
		{`{"dir":"/etc"}`, `error "/etc" is not below "$ROOT"`},
		{`{"dir":"$ROOT/../x"}`, `error is not below "$ROOT"`},
		{`{"out":"../x"}`, `error "../x" is not a name below the directory`},
		{`{"out":"."}`, `error "." is not a name below the directory`},
		{`{"out":"a/.."}`, `error "a/.." is not a name below the directory`},
		{`{"out":"/x"}`, `error "/x" is not a name below the directory`},
		{`{"split":"8","max-connection-per-server":"4"}`, `"split":"4"`},
		{`{"split":"8"}`, ``},
		{`{"split":1}`, `"max-connection-per-server":"1"`},
		{`{"split":"0"}`, `error needs a number of at least 1`},
		{`{"max-download-limit":"4M"}`, `"max-download-limit":"4194304"`},
		{`{"max-download-limit":"20k"}`, `"max-download-limit":"20480"`},
		{`{"max-download-limit":"99999999999999999M"}`, `error '--max-download-limit': needs a number of bytes`},
		{`{"max-download-limit":true}`, `error needs a number of bytes`},
		{`{"user-agent":"x y","referer":"http://r/"}`, `"referer":"http://r/","user-agent":"x y"`},
		{`{"user-agent":"x\ny"}`, `error contains a control character`},
		{`{"checksum":"sha-256=` + sum + `"}`, `"checksum":"sha-256=` + sum + `"`},
		{`{"checksum":"md5=00"}`, `error '--checksum'`},
		{`{"header":["A: b","C: secret-value"]}`, ``},
		{`{"header":"A: b\nC: d"}`, ``},
		{`{"header":"nonsense"}`, `error needs lines of the form Name: value`},
		{`{"header":["A: b",5,null]}`, ``},
		{`{"http-user":"u","http-passwd":"secret-value"}`, ``},
		{`{}`, `"allow-overwrite":"false","auto-file-renaming":"true","continue":"false"`},
		{`{"allow-overwrite":"true","continue":"true"}`, `"allow-overwrite":"true","auto-file-renaming":"false","continue":"true"`},
		{`{"auto-file-renaming":"false"}`, `"allow-overwrite":"false","auto-file-renaming":"false"`},
		{`{"allow-overwrite":"perhaps"}`, `error needs true or false`},
		{`{"pause":"perhaps"}`, `error '--pause'`},
		{`{"gid":"xyz"}`, `error '--gid'`},
		{`{"load-cookies":"/etc/passwd"}`, `error no file is read over RPC`},
		{`{"load-cookies":""}`, ``},
		{`{"all-proxy":"http://p:1"}`, `error '--all-proxy'`},
		{`{"dry-run":"true"}`, `error '--dry-run'`},
		{`{"dry-run":"false"}`, ``},
		{`{"on-download-complete":"/bin/true","netrc-path":"/x","conf-path":"/x","certificate":"/x","input-file":"/x","save-session":"/x","log":"/x","nonsense":"x","seed-time":"1"}`, ``},
		{`{"split":null,"dir":5.5,"out":{},"header":{}}`, `"dir":"$ROOT/5.5"`},
	} {
		given := strings.ReplaceAll(c.options, "$ROOT", r.root)
		want := strings.ReplaceAll(c.want, "$ROOT", r.root)
		url := fmt.Sprintf("http://localhost:1/%d", rand.Int64())
		got := r.call("aria2.addUri", []string{url}, json.RawMessage(given))
		if end, ok := strings.CutPrefix(want, "error "); ok {
			if got.Error == nil || !strings.Contains(got.Error.Message, end) {
				t.Errorf("%s: got %+v", given, got)
			}
			continue
		}
		if got.Error != nil {
			t.Errorf("%s: %s", given, got.Error.Message)
			continue
		}
		shown, _ := json.Marshal(r.must("aria2.getOption", got.Result))
		for part := range strings.SplitSeq(want, `","`) {
			if part = strings.Trim(part, `"`); !strings.Contains(string(shown), part) {
				t.Errorf("%s: got %s, want %s", given, shown, part)
			}
		}
		if strings.Contains(string(shown), "secret-value") {
			t.Errorf("%s: a secret is shown", given)
		}
	}
	log := r.log.String()
	for _, name := range []string{"on-download-complete", "netrc-path", "conf-path", "certificate", "input-file", "save-session", "nonsense", "seed-time"} {
		if n := strings.Count(log, fmt.Sprintf(`option \"%s\" is ignored`, name)); n != 1 {
			t.Errorf("%s is in the log %d times", name, n)
		}
	}
	if strings.Contains(log, "secret-value") {
		t.Error("a secret is in the log")
	}
}

// TestSpec checks the options that getOption does not show.
func TestSpec(t *testing.T) {
	r := newRig(t, 0)
	r.must("aria2.changeGlobalOption", map[string]any{"header": []string{"A: global", "B: global"}, "max-download-limit": "1K", "dir": "all", "max-concurrent-downloads": "7", "max-overall-download-limit": "2M"})
	gid := r.add("http://u:p@localhost:1/a", map[string]any{"header": []string{"b: own", "b: twice"}, "http-user": "me", "http-passwd": "pw", "pause": "true", "http-no-cache": "true"})
	task, _ := r.queue.Task(must(r.queue.Resolve(gid)))
	if got := fmt.Sprint(task.Header); got != "map[A:[global] B:[own twice] Cache-Control:[no-cache] Pragma:[no-cache]]" {
		t.Errorf("header %s", got)
	}
	if pass, _ := task.User.Password(); task.User.Username() != "me" || pass != "pw" || task.LimitRate != 1024 || task.State != queue.Paused || task.Dir != filepath.Join(r.root, "all") {
		t.Errorf("%+v", task)
	}
	if r.queue.Jobs() != 7 || r.rate.Load() != 2<<20 {
		t.Errorf("%d jobs, rate %d", r.queue.Jobs(), r.rate.Load())
	}
	all, _ := json.Marshal(r.must("aria2.getGlobalOption"))
	want := fmt.Sprintf(`{"allow-overwrite":"false","auto-file-renaming":"true","continue":"false","dir":"%s","max-concurrent-downloads":"7","max-download-limit":"1024","max-overall-download-limit":"%d"}`, filepath.Join(r.root, "all"), 2<<20)
	if string(all) != want {
		t.Errorf("got  %s\nwant %s", all, want)
	}
	status, _ := json.Marshal(r.must("aria2.tellStatus", gid))
	if strings.Contains(string(status), "u:p") {
		t.Errorf("a password is shown: %s", status)
	}
	if r := r.call("aria2.changeGlobalOption", map[string]any{"dir": "/etc"}); r.Error == nil {
		t.Error("a directory outside of the root is accepted")
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestOutcome checks aria2's error codes, which are those of pawl as aria2c.
func TestOutcome(t *testing.T) {
	for _, c := range []struct {
		state queue.State
		exit  int
		want  string
	}{
		{queue.Complete, 0, "0"}, {queue.Removed, 0, "31"}, {queue.Failed, 1, "1"}, {queue.Failed, 2, "1"}, {queue.Failed, 4, "6"}, {queue.Failed, 6, "24"},
		{queue.Failed, 8, "3"}, {queue.Failed, 9, "9"}, {queue.Failed, 13, "13"}, {queue.Failed, 32, "32"}, {queue.Failed, 75, "29"}, {queue.Failed, 99, "1"},
	} {
		if got, _ := outcome(queue.Task{State: c.state, Exit: c.exit}); got != c.want {
			t.Errorf("%s %d: got %s, want %s", c.state, c.exit, got, c.want)
		}
	}
}

// TestDownload downloads a file, and changes one that runs.
func TestDownload(t *testing.T) {
	o, r := newOrigin(t), newRig(t, 2)
	l := r.listen()
	gid := r.add(o.URL+"/quick", map[string]any{"out": "sub/name", "header": "X-A: b", "user-agent": "ua/1", "referer": "http://ref/", "gid": "00000000000000AB"})
	if gid != "00000000000000ab" {
		t.Errorf("GID %s", gid)
	}
	s := r.await(gid, "complete")
	if s["bitfield"] != "80" || s["errorCode"] != "0" || s["completedLength"] != "300000" {
		t.Errorf("%v", s)
	}
	if info, err := os.Stat(filepath.Join(r.root, "sub", "name")); err != nil || info.Size() != quickSize {
		t.Error(err)
	}
	o.mu.Lock()
	if h := o.seen[0]; h.Get("X-A") != "b" || h.Get("User-Agent") != "ua/1" || h.Get("Referer") != "http://ref/" {
		t.Errorf("header %v", h)
	}
	o.mu.Unlock()
	l.await(t, gid, "Start Complete")

	gid = r.add(o.URL+"/slow", nil)
	r.await(gid, "active")
	servers, _ := json.Marshal(r.must("aria2.getServers", gid))
	if !strings.HasPrefix(string(servers), `[{"index":"1","servers":[{"currentUri":"`+o.URL+`/slow"`) {
		t.Errorf("servers %s", servers)
	}
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		if r.must("aria2.tellStatus", gid).(map[string]any)["downloadSpeed"] != "0" {
			break
		}
		if time.Now().After(end) {
			t.Fatal("no speed")
		}
	}
	r.must("aria2.changeOption", gid, map[string]any{"max-download-limit": "1K", "max-connection-per-server": "1"})
	if o := r.must("aria2.getOption", gid).(map[string]any); o["max-download-limit"] != "1024" || o["split"] != "1" {
		t.Errorf("options %v", o)
	}
	if e := r.call("aria2.changeOption", gid, map[string]any{"dir": "elsewhere"}); e.Error == nil || !strings.Contains(e.Error.Message, "has begun") {
		t.Errorf("%+v", e)
	}
	r.must("aria2.pause", gid)
	s = r.await(gid, "paused")
	if s["totalLength"] != fmt.Sprint(slowSize) || len(s["bitfield"].(string)) != 16 {
		t.Errorf("%v", s)
	}
	r.must("aria2.unpause", gid)
	l.await(t, gid, "Start Pause Start")
	r.must("aria2.remove", gid)
	l.await(t, gid, "Start Pause Start Stop")
	if s := r.await(gid, "removed"); s["errorCode"] != "31" {
		t.Errorf("%v", s)
	}
	gid = r.add(o.URL+"/404", nil)
	if s := r.await(gid, "error"); s["errorCode"] != "3" || s["errorMessage"] == "" {
		t.Errorf("%v", s)
	}
	l.await(t, gid, "Start Error")
}

// TestDurable checks that an answer that reports a change comes after the change is durable, once for all calls.
func TestDurable(t *testing.T) {
	r := newRig(t, 0)
	var calls []string
	for i := range 10 {
		calls = append(calls, request("aria2.addUri", "token:"+secret, []string{fmt.Sprintf("http://localhost:1/%d", i)}))
	}
	r.post("[" + strings.Join(calls, ",") + "]")
	calls = nil
	for i := range 10 {
		calls = append(calls, fmt.Sprintf(`{"methodName":"aria2.addUri","params":["token:%s",["http://localhost:1/x%d"]]}`, secret, i))
	}
	r.post(`{"id":1,"method":"system.multicall","params":[[` + strings.Join(calls, ",") + `]]}`)
	r.must("aria2.addUri", []string{"http://localhost:1/y"})
	unfinished, _ := r.queue.Tasks()
	if len(unfinished) != 21 {
		t.Fatalf("%d tasks", len(unfinished))
	}
	stored := must(queue.Read(r.state))
	if len(stored) != 21 {
		t.Errorf("%d tasks are durable", len(stored))
	}
}

// TestNotDurable checks that a change which cannot be stored is not confirmed, and that the rest of a batch is answered.
func TestNotDurable(t *testing.T) {
	r := newRig(t, 0)
	r.add("http://localhost:1/a", nil)
	file := filepath.Join(r.dir, store.FileName)
	if err := os.Rename(file, file+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(file, 0o700); err != nil {
		t.Fatal(err)
	}
	add := request("aria2.addUri", "token:"+secret, []string{"http://localhost:1/b"}, map[string]any{"out": "b"})
	pause := request("aria2.pauseAll", "token:"+secret)
	_, body := r.post("[" + pause + "," + request("aria2.getGlobalStat", "token:"+secret) + "," + request("aria2.tellStatus", "token:"+secret, "zz") + "]")
	var answers []reply
	if err := json.Unmarshal([]byte(body), &answers); err != nil || answers[0].Error == nil || !strings.Contains(answers[0].Error.Message, "not durable") || answers[1].Error != nil || answers[2].Error.Message != "Invalid GID zz" {
		t.Errorf("%v %s", err, body)
	}
	if status, body := r.post(add); status != 400 || strings.Contains(body, "result") {
		t.Errorf("%d %s", status, body)
	}
	if err := errors.Join(os.Remove(file), os.Rename(file+".away", file)); err != nil {
		t.Fatal(err)
	}
	if r.must("aria2.unpauseAll") != "OK" {
		t.Error("the next change is not confirmed")
	}
}

// TestTokens checks which calls need the token.
func TestTokens(t *testing.T) {
	r := newRig(t, 0)
	info := func(params string) string {
		return `{"id":0,"method":"aria2.getSessionInfo","params":` + params + `}`
	}
	good := `["token:` + secret + `"]`
	for _, c := range []struct {
		text string
		want string // part of the answer
	}{
		{info(good), `sessionId`},
		{info(`[]`), `Unauthorized`},
		{info(`["token:"]`), `Unauthorized`},
		{info(`["token:wrong"]`), `Unauthorized`},
		{`{"id":0,"method":"nonsense"}`, `Unauthorized`},
		{`{"id":0,"method":"system.listMethods"}`, `aria2.addUri`},
		{`{"id":0,"method":"system.listMethods","params":["token:"]}`, `aria2.addUri`},
		{`{"id":0,"method":"system.listNotifications","params":["token:wrong"]}`, `aria2.onDownloadStart`},
		{`{"id":0,"method":"system.multicall","params":["token:` + secret + `",[{"methodName":"aria2.getSessionInfo","params":["token:"]}]]}`, `[[{"sessionId`},
		{`{"id":0,"method":"system.multicall","params":["token:` + secret + `",[{"methodName":"aria2.getSessionInfo","params":["token:wrong"]}]]}`, `[{"code":1,"message":"Unauthorized"}]`},
		{`{"id":0,"method":"system.multicall","params":["token:",[{"methodName":"aria2.getSessionInfo","params":` + good + `}]]}`, `[[{"sessionId`},
		{`{"id":0,"method":"system.multicall","params":[[{"methodName":"aria2.getSessionInfo"},{"methodName":"aria2.getSessionInfo","params":` + good + `}]]}`, `[{"code":1,"message":"Unauthorized"},[{"sessionId`},
		{`{"jsonrpc":2.0,"id":0,"method":"aria2.getSessionInfo","params":` + good + `}`, `"id":0`},
		{`{"json-rpc":"2.0","id":0,"method":"aria2.getSessionInfo","params":` + good + `}`, `sessionId`},
	} {
		if _, got := r.post(c.text); !strings.Contains(got, c.want) {
			t.Errorf("%s: got %s, want %s", c.text, got, c.want)
		}
	}
	req, _ := http.NewRequest("POST", r.url, strings.NewReader(info(`["token:"]`)))
	req.Header.Set("Authorization", "Bearer "+secret)
	if res, err := http.DefaultClient.Do(req); err != nil || res.StatusCode != 200 {
		t.Errorf("with a Bearer: %v, %v", res, err)
	}
}

// TestGuesses checks that a request tries few tokens only, however many calls it has.
func TestGuesses(t *testing.T) {
	tried := make(map[string]int)
	h := &handler{options: Options{Authorize: func(_ *http.Request, token string) bool {
		tried[token]++
		return token == secret
	}}.withDefaults()}
	var calls []string
	for i := range 100 {
		calls = append(calls, fmt.Sprintf(`{"methodName":"aria2.getSessionInfo","params":["token:%d"]}`, i), fmt.Sprintf(`{"methodName":"aria2.getSessionInfo","params":["token:%d"]}`, i))
	}
	x := newExchange(h, new(http.Request))
	body, _ := x.process([]byte(`{"id":1,"method":"system.multicall","params":[[` + strings.Join(calls, ",") + `]]}`))
	if len(tried) != maxGuesses || strings.Count(string(body), "Unauthorized") != 200 || tried["0"] != 1 {
		t.Errorf("%d tokens tried: %v", len(tried), tried)
	}
}

// TestShutdown checks that Stop is called after the answer.
func TestShutdown(t *testing.T) {
	r := newRig(t, 0)
	if got := r.must("aria2.shutdown"); got != "OK" || r.stops.Load() != 1 {
		t.Errorf("%v, %d", got, r.stops.Load())
	}
}

// TestMetalink checks that each file of a Metalink becomes a download with its mirrors, digest and name.
func TestMetalink(t *testing.T) {
	r := newRig(t, 0)
	first := r.add("http://localhost:1/first", nil)
	text := `<?xml version="1.0"?><metalink xmlns="urn:ietf:params:xml:ns:metalink">
<file name="m1"><size>3</size><hash type="sha-256">` + strings.Repeat("ab", 32) + `</hash><url>http://localhost:1/m1</url><url priority="1">http://localhost:2/m1</url></file>
<file name="d/m2"><url>rel</url></file>
<file name="../m3"><url>http://localhost:1/m3</url></file></metalink>`
	got := r.must("aria2.addMetalink", base64.StdEncoding.EncodeToString([]byte(text)), map[string]any{"dir": "meta", "metalink-base-uri": "http://base:1/x/"}, 0).([]any)
	if len(got) != 2 {
		t.Fatalf("got %v", got)
	}
	tasks, _ := r.queue.Tasks()
	a, b := tasks[0], tasks[1]
	if fmt.Sprint(a.URLs) != "[http://localhost:2/m1 http://localhost:1/m1]" || a.Name != "m1" || a.Sum.Algorithm() != "sha256" || a.Dir != filepath.Join(r.root, "meta") ||
		fmt.Sprint(b.URLs) != "[http://base:1/x/rel]" || b.Name != filepath.Join("d", "m2") || string(tasks[2].ID) != first {
		t.Errorf("%+v", tasks)
	}
	if !strings.Contains(r.log.String(), "m3") {
		t.Error("the log does not have the file that is left out")
	}
	for _, wrong := range []string{"eHg=", "!!!", "", "ICA="} {
		if e := r.call("aria2.addMetalink", wrong); e.Error == nil || !strings.Contains(e.Error.Message, "Could not parse Metalink") {
			t.Errorf("%q: %+v", wrong, e)
		}
	}
}

// TestURIs checks which URIs a download may have.
func TestURIs(t *testing.T) {
	r := newRig(t, 0)
	for uri, want := range map[string]string{"magnet:?xt=urn:btih:x": "BitTorrent is not supported", "ftp://h/f": "No URI to download", "nonsense": "No URI to download", "http://u:pw@/": "No URI to download"} {
		if e := r.call("aria2.addUri", []string{uri}); e.Error == nil || !strings.Contains(e.Error.Message, want) || strings.Contains(e.Error.Message, "pw") {
			t.Errorf("%s: %+v", uri, e)
		}
	}
	if e := r.call("aria2.addTorrent", "eHg="); e.Error == nil || !strings.Contains(e.Error.Message, "BitTorrent is not supported") {
		t.Errorf("%+v", e)
	}
	const u = "http://localhost:1/"
	gid := r.must("aria2.addUri", []string{u + "a", "ftp://h/f", u + "a", "http://me:pw@localhost:1/b"}).(string)
	show := func() string {
		b, _ := json.Marshal(r.must("aria2.getUris", gid))
		return strings.NewReplacer(`{"status":"waiting","uri":"`+u, "", `"}`, "").Replace(string(b))
	}
	if got := show(); got != "[a,b]" {
		t.Fatalf("got %s", got)
	}
	for _, c := range []struct{ params, result, want string }{
		{`1,["` + u + `b","x"],["` + u + `c","nonsense","ftp://h/f"]`, "[1 1]", "[a,c]"},
		{`1,[],["` + u + `d","` + u + `e"],0`, "[0 2]", "[d,e,a,c]"},
		{`1,["` + u + `d"],["` + u + `f"],99`, "[1 1]", "[e,a,c,f]"},
		{`1,["` + u + `e","` + u + `a","` + u + `c","` + u + `f"],[]`, "needs a URI", "[e,a,c,f]"},
		{`2,[],[]`, "fileIndex is out of range", "[e,a,c,f]"},
	} {
		var p []any
		json.Unmarshal([]byte("["+c.params+"]"), &p)
		got := r.call("aria2.changeUri", append([]any{gid}, p...)...)
		text := fmt.Sprint(got.Result)
		if got.Error != nil {
			text = got.Error.Message
		}
		if !strings.Contains(text, c.result) || show() != c.want {
			t.Errorf("%s: got %s and %s", c.params, text, show())
		}
	}
}
