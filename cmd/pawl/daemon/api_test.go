package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pawl/downloader/faultserver"
	"pawl/downloader/queue"
	"pawl/store"
)

// TestClient drives the whole API by its client.
func TestClient(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.Free = func() int64 { return 123 } })
		ctx, c := t.Context(), r.client
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		position := 0
		tasks, err := c.Add(ctx,
			Addition{URLs: []string{r.put("a.bin", 8<<20)}, Dir: "sub", LimitRate: 1 << 20},
			Addition{URLs: []string{r.put("b.bin", 1<<20)}, Name: "other.bin", LimitRate: 1 << 30, Connections: 3, Paused: true},
		)
		must(err)
		a, b := tasks[0].ID, tasks[1].ID
		r.await(a, queue.Active)
		tasks, err = c.Add(ctx, Addition{URLs: []string{r.put("c.bin", 1<<20)}, Position: &position})
		must(err)
		last := tasks[0].ID
		time.Sleep(3 * time.Second)
		st, err := c.Status(ctx)
		must(err)
		if st.Rate < 1<<19 || st.Rate > 1<<21 {
			t.Errorf("the rate is %d, want about %d", st.Rate, 1<<20)
		}
		st.Rate = 0
		if want := (Status{V: 1, Version: "1.2.3", Root: r.root, Jobs: 1, Active: 1, Waiting: 1, Paused: 1, Free: 123}); st != want {
			t.Errorf("got %+v, want %+v", st, want)
		}
		all, err := c.Tasks(ctx)
		must(err)
		if got, want := summaryOf(all), "a.bin active -, c.bin waiting 0, b.bin paused 1"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if got := all[2]; got.Name != "other.bin" || got.LimitRate != 1<<30 || got.Connections != 3 || got.Dir != r.root || got.V != 1 || got.Size != -1 || got.Created.IsZero() || got.Updated.IsZero() {
			t.Errorf("got %+v", got)
		}
		one, err := c.Task(ctx, a[:6])
		must(err)
		if d := one.Detail; one.ID != a || one.Size != 8<<20 || one.Held == 0 || one.Rate == 0 || one.Conns == 0 || one.Path != filepath.Join(r.root, "sub", "a.bin") ||
			d == nil || len(d.Ranges) == 0 || len(d.Sources) != 1 || d.Sources[0].Received == 0 {
			t.Errorf("got %+v with %+v", one, d)
		}
		jobs, limit := 2, int64(5<<20)
		st, err = c.Set(ctx, Settings{Jobs: &jobs, LimitRate: &limit})
		if must(err); st.Jobs != 2 || st.LimitRate != 5<<20 || r.queue.Jobs() != 2 {
			t.Errorf("got %+v", st)
		}
		r.await(last, queue.Complete)
		paused, err := c.Pause(ctx)
		if must(err); summaryOf(paused) != "a.bin paused 0" {
			t.Errorf("paused: %s", summaryOf(paused))
		}
		time.Sleep(time.Second)
		resumed, err := c.Resume(ctx, b)
		if must(err); len(resumed) != 1 || resumed[0].ID != b {
			t.Errorf("resumed: %s", summaryOf(resumed))
		}
		r.await(b, queue.Complete)
		one, err = c.Change(ctx, a, Change{URLs: []string{r.put("new.bin", 8<<20)}, State: queue.Waiting, Connections: &jobs})
		if must(err); one.URL != r.files.URL+"/new.bin" || one.Connections != 2 || one.State == queue.Paused {
			t.Errorf("got %+v", one)
		}
		all, err = c.Tasks(ctx)
		if must(err); len(all) != 3 || all[1].ID != b || all[2].ID != last || all[1].Ended.IsZero() || all[1].Proof != "checksums" {
			t.Errorf("got %s, want the newest of those that ended first", summaryOf(all))
		}
		must(c.Forget(ctx))
		must(c.Remove(ctx, a, true))
		if all, err = c.Tasks(ctx); err != nil || len(all) > 1 {
			t.Errorf("got %s, %v", summaryOf(all), err)
		}
		var e *Error
		if _, err := c.Task(ctx, "0123456789abcdef"); !errors.As(err, &e) || e.Code != "not_found" || e.Status != 404 {
			t.Errorf("got %v", err)
		}
		must(c.Stop(ctx))
		r.stop()
		if _, err := c.Status(ctx); !errors.Is(err, ErrNotRunning) {
			t.Errorf("after the end: %v", err)
		}
	})
}

// summaryOf returns the names, states and positions of tasks.
func summaryOf(tasks []Task) string {
	var all []string
	for _, t := range tasks {
		position := "-"
		if t.Position != nil {
			position = fmt.Sprint(*t.Position)
		}
		all = append(all, fmt.Sprintf("%s %s %s", t.URL[strings.LastIndex(t.URL, "/")+1:], t.State, position))
	}
	return strings.Join(all, ", ")
}

// TestErrors checks the answers to requests that are wrong. Each names what is wrong.
func TestErrors(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.Stop = nil })
		const u = `"urls":["http://127.0.0.1/f"]`
		var waiting, done Task
		if err := json.Unmarshal([]byte(r.api("POST", "/tasks", `{`+u+`,"paused":true}`).body), &waiting); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(r.api("POST", "/tasks", `{"urls":["`+r.put("done", 9)+`"]}`).body), &done); err != nil {
			t.Fatal(err)
		}
		r.await(done.ID, queue.Complete)
		one, ended := "/tasks/"+string(waiting.ID), "/tasks/"+string(done.ID)
		before := len(r.api("GET", "/tasks", "").body)
		for _, tt := range []struct {
			method, path, body string
			status             int
			code, word         string
		}{
			{"GET", "/nothing", "", 404, "not_found", "pawl help api"},
			{"GET", "", "", 404, "not_found", "pawl help api"},
			{"GET", "/tasks/" + strings.Repeat("0", 16), "", 404, "not_found", "0000"},
			{"GET", "/tasks/xyzz", "", 404, "not_found", `"xyzz"`},
			{"DELETE", "/tasks/" + string(waiting.ID[:3]), "", 400, "spec", "digits"},
			{"GET", "/tasks?state=running", "", 400, "spec", `"running"`},
			{"GET", "/tasks?states=active", "", 400, "spec", `"states"`},
			{"GET", "/tasks?limit=-1", "", 400, "spec", `"limit"`},
			{"GET", "/tasks?offset=x", "", 400, "spec", `"offset"`},
			{"GET", "/tasks?limit=99999999999999999999", "", 400, "spec", `"limit"`},
			{"GET", "/tasks?limit=1&limit=2", "", 400, "spec", `"limit"`},
			{"GET", "/status?a=b", "", 400, "spec", `"a"`},
			{"PATCH", "/status?a=b", "{}", 400, "spec", `"a"`},
			{"GET", "/events?a=b", "", 400, "spec", `"a"`},
			{"GET", one + "?a=b", "", 400, "spec", `"a"`},
			{"PUT", "/tasks", "", 405, "method", "GET, POST"},
			{"POST", "/status", "", 405, "method", "PATCH"},
			{"GET", "/tasks/pause", "", 405, "method", "POST"},
			{"GET", "/history", "", 405, "method", "DELETE"},
			{"PATCH", "/status", "", 400, "spec", "ends too early"},
			{"PATCH", "/status", "{", 400, "spec", "ends too early"},
			{"PATCH", "/status", `{"jobs":0}`, 400, "spec", `"jobs"`},
			{"PATCH", "/status", `{"jobs":1000000}`, 400, "spec", `"jobs"`},
			{"PATCH", "/status", `{"jobs":"4"}`, 400, "spec", `"jobs"`},
			{"PATCH", "/status", `{"jobs":1.5}`, 400, "spec", `"jobs"`},
			{"PATCH", "/status", `{"jobs":1e40}`, 400, "spec", `"jobs"`},
			{"PATCH", "/status", `{"limit_rate":-1}`, 400, "spec", `"limit_rate"`},
			{"PATCH", "/status", `{"limit_rate":1e17}`, 400, "spec", `"limit_rate"`},
			{"PATCH", "/status", `{"version":"2"}`, 400, "spec", `"version"`},
			{"PATCH", "/status", `{"jobs":1}{"jobs":2}`, 400, "spec", "behind"},
			{"PATCH", "/status", `[]`, 400, "spec", "object"},
			{"PATCH", "/status", "{\"jobs\":\"\xff\"}", 400, "spec", "UTF-8"},
			{"POST", "/tasks", "", 400, "spec", "ends too early"},
			{"POST", "/tasks", "{}", 400, "spec", "no URL"},
			{"POST", "/tasks", "null", 400, "spec", "no URL"},
			{"POST", "/tasks", `"x"`, 400, "spec", "object"},
			{"POST", "/tasks", `{"url":"http://h/f"}`, 400, "spec", `"url"`},
			{"POST", "/tasks", `{"urls":"http://h/f"}`, 400, "spec", `"urls"`},
			{"POST", "/tasks", `{"urls":[1]}`, 400, "spec", `"urls`},
			{"POST", "/tasks", `{"urls":["ftp://h/f"]}`, 400, "spec", "ftp://h/f"},
			{"POST", "/tasks", `{"urls":["file:///etc/passwd"]}`, 400, "spec", "file:///etc/passwd"},
			{"POST", "/tasks", `{` + u + `,"dir":"../x"}`, 400, "spec", "is not below"},
			{"POST", "/tasks", `{` + u + `,"dir":"/etc"}`, 400, "spec", "/etc"},
			{"POST", "/tasks", `{` + u + `,"dir":"a\u0000b"}`, 400, "spec", "is not below"},
			{"POST", "/tasks", `{` + u + `,"name":"../x"}`, 400, "spec", "../x"},
			{"POST", "/tasks", `{` + u + `,"name":"a\u0000b"}`, 400, "spec", "name"},
			{"POST", "/tasks", `{` + u + `,"checksum":"sha256:12"}`, 400, "spec", `"checksum"`},
			{"POST", "/tasks", `{` + u + `,"checksum":7}`, 400, "spec", `"checksum"`},
			{"POST", "/tasks", `{` + u + `,"limit_rate":-1}`, 400, "spec", `"limit_rate"`},
			{"POST", "/tasks", `{` + u + `,"connections":-1}`, 400, "spec", `"connections"`},
			{"POST", "/tasks", `{` + u + `,"position":-1}`, 400, "spec", `"position"`},
			{"POST", "/tasks", `{` + u + `,"header":["no colon"]}`, 400, "spec", `"header"`},
			{"POST", "/tasks", `{` + u + `,"header":["A: b\r\nC: d"]}`, 400, "spec", `"header"`},
			{"POST", "/tasks", `{` + u + `,"header":["@/etc/passwd"]}`, 400, "spec", `"header"`},
			{"POST", "/tasks", `{` + u + `,"header":{"A":"b"}}`, 400, "spec", `"header"`},
			{"POST", "/tasks", `{` + u + `,"user_agent":"a\nb"}`, 400, "spec", `"user_agent"`},
			{"POST", "/tasks", `{` + u + `,"referer":"a\nb"}`, 400, "spec", `"referer"`},
			{"POST", "/tasks", `{` + u + `,"paused":"yes"}`, 400, "spec", `"paused"`},
			{"POST", "/tasks", `{` + u + `,"text":"x"}`, 400, "spec", `"text"`},
			{"POST", "/tasks", `{"list":true}`, 400, "spec", "list"},
			{"POST", "/tasks", `{"list":true,"text":"x",` + u + `}`, 400, "spec", "list"},
			{"POST", "/tasks", `{"list":true,"name":"n",` + u + `}`, 400, "spec", `"name"`},
			{"POST", "/tasks", `{"record":"0123456789abcdef"}`, 404, "not_found", ""},
			{"POST", "/tasks", `[{` + u + `},{"record":"0123456789abcdef"}]`, 404, "not_found", "element 2"},
			{"POST", "/tasks", `{"record":"` + string(done.ID) + `"}`, 409, "state", "finished"},
			{"POST", "/tasks", `{"record":"../../etc"}`, 400, "spec", `"record"`},
			{"POST", "/tasks", `{"record":"0123456789abcdef",` + u + `}`, 400, "spec", `"record"`},
			{"POST", "/tasks", `[{` + u + `},{` + u + `,"names":"x"}]`, 400, "spec", `"names"`},
			{"POST", "/tasks", `[{` + u + `},{"urls":["nonsense"]}]`, 400, "spec", "element 2"},
			{"POST", "/tasks", `[{` + u + `},3]`, 400, "spec", "number"},
			{"POST", "/tasks", `{"URLs":["http://h/f"]}`, 400, "spec", `"URLs"`},
			{"POST", "/tasks", `[{` + u + `},{` + u + `,"Paused":true}]`, 400, "spec", `"Paused"`},
			{"POST", "/tasks", `{` + u + `,"name":"a","name":"b"}`, 400, "spec", `"name"`},
			{"POST", "/tasks", `{` + u + `,` + u + `}`, 400, "spec", `"urls"`},
			{"POST", "/tasks", `[[{` + u + `}]]`, 400, "spec", "array"},
			{"POST", "/tasks/pause", `{"ids":["` + string(waiting.ID) + `","` + string(done.ID) + `"]}`, 409, "state", string(done.ID)},
			{"POST", "/tasks/resume", `{"ids":["` + string(waiting.ID) + `","` + string(done.ID) + `"]}`, 409, "state", string(done.ID)},
			{"POST", "/tasks/resume", `{"IDs":[]}`, 400, "spec", `"IDs"`},
			{"POST", "/tasks/pause", `{"ids":["ffff"]}`, 404, "not_found", "ffff"},
			{"POST", "/tasks/pause", `{"ids":[""]}`, 400, "spec", "digits"},
			{"POST", "/tasks/pause", `{"id":"ffff"}`, 400, "spec", `"id"`},
			{"POST", "/tasks/pause", `{"ids":["` + string(done.ID) + `"]}`, 409, "state", string(done.ID)},
			{"POST", "/tasks/resume", `{"ids":"x"}`, 400, "spec", `"ids"`},
			{"PATCH", one, `{"state":"active"}`, 400, "spec", `"state"`},
			{"PATCH", one, `{"states":"paused"}`, 400, "spec", `"states"`},
			{"PATCH", one, `{"position":"first"}`, 400, "spec", `"position"`},
			{"PATCH", one, `{"position":-1}`, 400, "spec", `"position"`},
			{"PATCH", one, `{"urls":[]}`, 400, "spec", "no URL"},
			{"PATCH", one, `{"urls":["nonsense"]}`, 400, "spec", "nonsense"},
			{"PATCH", one, `{"header":["x"]}`, 400, "spec", `"header"`},
			{"PATCH", one, `{"limit_rate":-1}`, 400, "spec", `"limit_rate"`},
			{"PATCH", one, `{"user":3}`, 400, "spec", `"user"`},
			{"PATCH", ended, `{"state":"paused"}`, 409, "state", string(done.ID)},
			{"PATCH", ended, `{"state":"waiting"}`, 409, "state", string(done.ID)},
			{"PATCH", ended, `{"position":0}`, 409, "state", string(done.ID)},
			{"PATCH", ended, `{"limit_rate":5}`, 409, "state", string(done.ID)},
			{"DELETE", one + "?files=maybe", "", 400, "spec", `"files"`},
			{"DELETE", one + "?file=true", "", 400, "spec", `"file"`},
			{"DELETE", "/tasks/0000", "", 404, "not_found", "0000"},
			{"POST", "/stop", "", 409, "state", "stop"},
		} {
			a := r.api(tt.method, tt.path, tt.body)
			if a.status != tt.status || a.errorCode() != tt.code || !strings.Contains(a.body, strings.ReplaceAll(tt.word, `"`, `\"`)) {
				t.Errorf("%s %s %s: got %d %s, want %d, %q and the word %s", tt.method, tt.path, tt.body, a.status, a.body, tt.status, tt.code, tt.word)
			}
			if a.header.Get("Content-Type") != "application/json" {
				t.Errorf("%s %s: the error has the type %q", tt.method, tt.path, a.header.Get("Content-Type"))
			}
			if tt.status == 405 && !strings.Contains(a.header.Get("Allow"), tt.word) {
				t.Errorf("%s %s: Allow is %q", tt.method, tt.path, a.header.Get("Allow"))
			}
		}
		if after := len(r.api("GET", "/tasks", "").body); after != before {
			t.Errorf("wrong requests have changed the queue: %s", r.api("GET", "/tasks", "").body)
		}
	})
}

// TestDeleteChanged checks that the answer says that a file is still here, because somebody has changed it.
func TestDeleteChanged(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		added, err := r.queue.Add([]queue.Spec{{URLs: []string{r.put("a.bin", 100)}}}, queue.Last, false)
		if err != nil {
			t.Fatal(err)
		}
		r.await(added[0].ID, queue.Complete)
		path := filepath.Join(r.root, "a.bin")
		if err := os.WriteFile(path, []byte("of the user"), 0o644); err != nil {
			t.Fatal(err)
		}
		one := "/tasks/" + string(added[0].ID)
		if a := r.api("DELETE", one+"?files=true", ""); a.status != 409 || a.errorCode() != "state" || !strings.Contains(a.body, "still here") {
			t.Errorf("got %d %s", a.status, a.body)
		}
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
		if a := r.api("GET", one, ""); a.status != 404 {
			t.Errorf("the task: got %d %s", a.status, a.body)
		}
	})
}

// TestMethods checks HEAD and OPTIONS.
func TestMethods(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		for _, path := range []string{"/status", "/tasks", "/events"} {
			if a := r.api("HEAD", path, ""); a.status != 200 || a.body != "" || a.header.Get("Content-Type") == "" {
				t.Errorf("HEAD %s: %+v", path, a)
			}
			if a := r.api("OPTIONS", path, ""); a.status != 204 || !strings.Contains(a.header.Get("Allow"), "GET") || !strings.Contains(a.header.Get("Allow"), "HEAD") {
				t.Errorf("OPTIONS %s: %+v", path, a)
			}
		}
		if a := r.send("HEAD", "/open?token="+r.server.keeper.newToken(), ""); a.status != 405 || a.header.Get("Allow") != "GET" {
			t.Errorf("HEAD /open: %+v", a)
		}
		if a := r.send("GET", "/", ""); a.status != 404 {
			t.Errorf("GET / without a page: %+v", a)
		}
	})
}

// TestFilters checks the query of GET /tasks.
func TestFilters(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		var all []Addition
		for i := range 10 {
			all = append(all, Addition{URLs: []string{fmt.Sprintf("http://127.0.0.1/%d", i)}, Paused: i != 3})
		}
		if _, err := r.client.Add(t.Context(), all...); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		time.Sleep(time.Minute)
		for query, want := range map[string]string{
			"":                           "0 1 2 4 5 6 7 8 9 3 of 10",
			"?state=paused":              "0 1 2 4 5 6 7 8 9 of 9",
			"?state=error":               "3 of 1",
			"?state=active,error":        "3 of 1",
			"?state=waiting":             " of 0",
			"?limit=2":                   "0 1 of 10",
			"?limit=0":                   " of 10",
			"?offset=8":                  "9 3 of 10",
			"?offset=20":                 " of 10",
			"?state=paused&offset=7":     "8 9 of 9",
			"?offset=1&limit=2147483647": "1 2 4 5 6 7 8 9 3 of 10",
		} {
			var list struct {
				Tasks []Task
				Total int
			}
			a := r.api("GET", "/tasks"+query, "")
			if err := json.Unmarshal([]byte(a.body), &list); err != nil || list.Tasks == nil {
				t.Errorf("%s: %v in %s", query, err, a.body)
			}
			var names []string
			for _, task := range list.Tasks {
				names = append(names, task.URL[len("http://127.0.0.1/"):])
			}
			if got := fmt.Sprintf("%s of %d", strings.Join(names, " "), list.Total); got != want {
				t.Errorf("%s: got %q, want %q", query, got, want)
			}
		}
	})
}

// TestNoIDs checks that an empty list of IDs means none, and no list all.
func TestNoIDs(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		tasks, err := r.client.Add(t.Context(), Addition{URLs: []string{"http://127.0.0.1/f"}, Paused: true}, Addition{URLs: []string{"http://127.0.0.1/g"}, Paused: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			body string
			want int
		}{{`{"ids":[]}`, 0}, {`{"ids":["` + string(tasks[1].ID) + `"]}`, 1}, {`{}`, 1}, {``, 0}, {" \n", 0}} {
			var list taskList
			if a := r.api("POST", "/tasks/resume", tt.body); json.Unmarshal([]byte(a.body), &list) != nil || len(list.Tasks) != tt.want {
				t.Errorf("%q: got %s, want %d tasks", tt.body, a.body, tt.want)
			}
		}
	})
}

// TestTransactions checks that a request waits for one transaction, whatever it changes, and that it
// waits until that is done: all tasks are in the state file when their requests are answered.
func TestTransactions(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		stored := func() int {
			st, err := store.Open(r.state, store.Options{})
			if err != nil {
				t.Fatal(err)
			}
			tasks, err := queue.Read(st)
			if err != nil {
				t.Fatal(err)
			}
			return len(tasks)
		}
		var all []Addition
		for i := range 200 {
			all = append(all, Addition{URLs: []string{fmt.Sprintf("http://127.0.0.1/%d", i)}, Paused: true})
		}
		synctest.Wait()
		for _, tt := range []struct {
			name  string
			do    func() error
			tasks int
		}{
			{"adding 200", func() error { _, err := r.client.Add(t.Context(), all...); return err }, 200},
			{"adding one", func() error {
				_, err := r.client.Add(t.Context(), Addition{URLs: []string{"http://127.0.0.1/x"}, Paused: true})
				return err
			}, 201},
			{"adding them again", func() error { _, err := r.client.Add(t.Context(), all...); return err }, 201},
		} {
			before := r.transactions()
			if err := tt.do(); err != nil {
				t.Fatal(err)
			}
			if n := stored(); n != tt.tasks {
				t.Errorf("%s: %d tasks are stored, want %d", tt.name, n, tt.tasks)
			}
			synctest.Wait()
			if n := r.transactions() - before; n < 1 || n > 2 { // Run may save some of them first
				t.Errorf("%s: %d transactions", tt.name, n)
			}
		}
		before := r.transactions()
		for range 50 {
			if a := r.api("GET", "/tasks", ""); a.status != 200 {
				t.Fatal(a)
			}
		}
		if n := r.transactions() - before; n != 0 {
			t.Errorf("reading: %d transactions", n)
		}
	})
}

// TestRecords checks that an unfinished download on record is added as it is.
func TestRecords(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.files.Set(faultserver.Rate(1 << 20))
		tasks, err := r.client.Add(t.Context(), Addition{URLs: []string{r.put("f.bin", 8<<20)}})
		if err != nil {
			t.Fatal(err)
		}
		id := tasks[0].ID
		time.Sleep(3 * time.Second)
		if err := r.client.Remove(t.Context(), id, false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := r.client.Forget(t.Context()); err != nil {
			t.Fatal(err)
		}
		a := r.api("POST", "/tasks", `[{"record":"`+string(id)+`","paused":true}]`)
		if tasks = nil; a.status != 201 || json.Unmarshal([]byte(a.body), &tasks) != nil || len(tasks) != 1 || tasks[0].ID != id || tasks[0].Held == 0 || tasks[0].State != queue.Paused {
			t.Errorf("got %+v", a)
		}
	})
}

// TestKeys checks that the shapes have the keys that the API is to have, in this order.
func TestKeys(t *testing.T) {
	for _, tt := range []struct {
		value any
		want  string
	}{
		{Status{}, "v version root jobs limit_rate rate active waiting paused ended free held_up"},
		{Task{}, "v id state url path size held rate reason created updated list urls dir name position conns limit_rate connections added ended proof exit lost files detail"},
		{taskProgress{}, "id held size rate conns files"},
	} {
		if got := strings.Join(keysOf(reflect.TypeOf(tt.value)), " "); got != tt.want {
			t.Errorf("%T has the keys %s, want %s", tt.value, got, tt.want)
		}
	}
}

// keysOf returns the JSON keys of a struct.
func keysOf(t reflect.Type) (keys []string) {
	for field := range t.Fields() {
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "-" {
			keys = append(keys, name)
		}
	}
	return keys
}

// TestNoRedirect checks that a path that is not clean leads nowhere else.
func TestNoRedirect(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		for _, path := range []string{"//evil.example/", "/api/v1/../v1/status", "/api/v1//status", "/%2e%2e/"} {
			a := r.send("GET", path, "", withSecret)
			if location := a.header.Get("Location"); strings.HasPrefix(location, "//") || strings.Contains(location, "evil") && !strings.HasPrefix(location, "/evil") {
				t.Errorf("%s: %d leads to %q", path, a.status, location)
			}
		}
	})
}
