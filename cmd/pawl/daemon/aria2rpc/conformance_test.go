package aria2rpc

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// differences are the steps of the conformance script in which pawl differs from aria2, and why. A step that is
// not here must have the same keys, types, states, error codes, messages and HTTP statuses.
var differences = map[string]string{
	"features":                         "there is no BitTorrent, SFTP and XML-RPC, and a client can see the version of pawl",
	"system without a secret":          "there is no BitTorrent, which has a notification of its own",
	"methods":                          "the set is the same; this row is for the order, which aria2 does not sort",
	"multicall with a token":           "aria2 takes the token for the list of calls; aria2.js sends one",
	"id that is a fraction":            "aria2 returns its whole part, pawl what it got",
	"add: no URL":                      "pawl says why it is none",
	"add: unknown scheme":              "pawl says why it cannot download it",
	"add: magnet link":                 "pawl says that it has no BitTorrent",
	"add: torrent":                     "pawl says that it has no BitTorrent",
	"add: no metalink":                 "pawl says what is wrong",
	"add: empty metalink":              "a list without files is most likely a mistake",
	"add: option is no number":         "pawl says what it needs",
	"add: option out of range":         "pawl says what it needs",
	"add: option is no boolean":        "pawl says what it needs",
	"add: wrong digest":                "pawl says what is wrong",
	"add: wrong GID":                   "aria2 says that there is no URI",
	"add: GID of another":              "aria2 says that there is no URI, pawl that the GID is not unique",
	"add: header without a name":       "pawl sends no faulty header",
	"add: proxy of its own":            "pawl has one proxy for all downloads; without it, the download would not be what the user wants",
	"add: cookies of a file":           "no file is read over RPC; aria2 ignores the option",
	"add: directory elsewhere":         "nothing is written outside of the directory of the daemon",
	"paused: options":                  "pawl has fewer options, and shows no header fields",
	"global options":                   "pawl has fewer options",
	"change: option is no number":      "pawl says what it needs",
	"change global: number of jobs 0":  "pawl says what it needs",
	"change URI: without the last one": "a download needs a URI; one call can remove and add",
	"save session":                     "the queue is always saved, and needs no name of a file",
}

// volatile are the values that differ with the moment. Their types are compared.
var volatile = []string{"gid", "bitfield", "completedLength", "connections", "downloadSpeed", "sessionId", "uri", "currentUri", "path", "dir", "errorMessage", "version"}

// shapeOf describes a value: keys, types and the values that do not depend on the moment.
func shapeOf(key string, v any) string {
	switch v := v.(type) {
	case map[string]any:
		var all []string
		for _, k := range slices.Sorted(maps.Keys(v)) {
			all = append(all, k+":"+shapeOf(k, v[k]))
		}
		return "{" + strings.Join(all, " ") + "}"
	case []any:
		if key == "uris" { // aria2 repeats them for each connection
			return "[" + shapeOf("", v[0]) + "…]"
		}
		var all []string
		for _, e := range v {
			all = append(all, shapeOf(key, e))
		}
		return "[" + strings.Join(all, " ") + "]"
	case string:
		if key == "status" && (v == "used" || v == "waiting") { // of a URI, or of a download that may start at any moment
			return "waiting|used"
		}
		if slices.Contains(volatile, key) {
			return typeOf(v)
		}
		return fmt.Sprintf("%q", v)
	}
	return fmt.Sprintf("%T %v", v, v)
}

var hexPattern = regexp.MustCompile(`^[0-9a-f]+$`)

// typeOf returns the type of a text.
func typeOf(s string) string {
	switch {
	case s == "":
		return "empty"
	case strings.Trim(s, "0123456789") == "" && len(s) < 16:
		return "number"
	case hexPattern.MatchString(s):
		return "hex"
	}
	return "text"
}

// A script is the conformance script, which runs against one server.
type script struct {
	*client
	origin *origin
	steps  []string          // names, in order
	got    map[string]string // shapes by name
}

// step notes the shape of a result.
func (s *script) step(name, shape string) {
	if _, twice := s.got[name]; twice {
		s.t.Fatalf("step %q is there twice", name)
	}
	s.steps = append(s.steps, name)
	s.got[name] = shape
}

// text notes the answer to a text.
func (s *script) text(name, text string) {
	s.t.Helper()
	status, body := s.post(strings.ReplaceAll(text, "SECRET", "token:"+secret))
	s.step(name, shapeOfBody(status, body))
}

func shapeOfBody(status int, body string) string {
	var v any
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		return fmt.Sprintf("%d %q", status, body)
	}
	return fmt.Sprintf("%d %s", status, shapeOf("", v))
}

// try notes the answer to a call. The first parameter that is a GID is left out of messages.
func (s *script) try(name, method string, params ...any) reply {
	s.t.Helper()
	r := s.call("aria2."+method, params...)
	key := map[string]string{"getUris": "uris", "addMetalink": "gid"}[method]
	if _, isText := r.Result.(string); isText {
		key = "gid"
	}
	shape := shapeOf(key, r.Result)
	if r.Error != nil {
		shape = fmt.Sprintf("error %d %s", r.Error.Code, r.Error.Message)
		if len(params) > 0 {
			shape = strings.ReplaceAll(shape, fmt.Sprint(params[0]), "GID")
		}
	}
	s.step(name, fmt.Sprintf("%d %s", r.status, shape))
	return r
}

// status notes the status of a download.
func (s *script) status(name, gid, status string) {
	s.t.Helper()
	s.step(name, shapeOf("", s.await(gid, status)))
}

// requests are texts that are no calls, or odd ones.
func (s *script) requests() {
	const info = `"method":"aria2.getSessionInfo"`
	for _, c := range [][2]string{
		{"empty text", ""}, {"no JSON", "{"}, {"empty batch", "[]"}, {"number as request", "5"}, {"text as request", `"x"`}, {"null as request", "null"},
		{"empty object", "{}"}, {"id alone", `{"id":1}`}, {"method is no text", `{"id":1,"method":5}`}, {"no id", `{` + info + `,"params":["SECRET"]}`},
		{"id is null", `{"id":null,` + info + `,"params":["SECRET"]}`}, {"id is a list", `{"id":[1,{"a":true}],` + info + `,"params":["SECRET"]}`},
		{"id that is a fraction", `{"id":1.5,` + info + `,"params":["SECRET"]}`},
		{"version is a number", `{"jsonrpc":2.0,"id":1,` + info + `,"params":["SECRET"]}`}, {"another version key", `{"json-rpc":"2.0","id":0,` + info + `,"params":["SECRET"]}`},
		{"params are an object", `{"id":1,` + info + `,"params":{"a":1}}`}, {"params are null", `{"id":1,` + info + `,"params":null}`},
		{"text behind the request", `{"id":1,` + info + `,"params":["SECRET"]} x`}, {"further params", `{"id":1,` + info + `,"params":["SECRET",5,{}]}`},
		{"unknown method", `{"id":1,"method":"nope","params":["SECRET"]}`}, {"no secret", `{"id":1,` + info + `}`}, {"wrong secret", `{"id":1,` + info + `,"params":["token:x"]}`},
		{"unknown method and no secret", `{"id":1,"method":"nope"}`}, {"system without a secret", `{"id":1,"method":"system.listNotifications"}`},
		{"batch", `[5,{"id":"a",` + info + `,"params":["SECRET"]},{},{"id":1,"method":"nope","params":["SECRET"]}]`},
		{"multicall", `{"id":1,"method":"system.multicall","params":[[5,{},{"methodName":"system.multicall","params":[[]]},{"methodName":"aria2.getSessionInfo"},{"methodName":"aria2.getSessionInfo","params":["SECRET"]},
			{"methodName":"aria2.tellStatus","params":["SECRET","zz"]},{"methodName":"nope","params":["SECRET"]},{"methodName":5},{"methodName":"aria2.getSessionInfo","params":5}]]}`},
		{"multicall with a token", `{"id":1,"method":"system.multicall","params":["SECRET",[]]}`}, {"multicall of nothing", `{"id":1,"method":"system.multicall","params":[[]]}`},
		{"multicall without calls", `{"id":1,"method":"system.multicall"}`}, {"multicall of a number", `{"id":1,"method":"system.multicall","params":[5]}`},
	} {
		s.text(c[0], c[1])
	}
}

// queries are requests in URLs.
func (s *script) queries() {
	b64 := func(text string) string {
		return url.QueryEscape(base64.StdEncoding.EncodeToString([]byte(strings.ReplaceAll(text, "SECRET", "token:"+secret))))
	}
	for _, c := range [][2]string{
		{"call in a URL", "?method=aria2.getSessionInfo&id=x&params=" + b64(`["SECRET"]`)},
		{"callback", "?method=aria2.getGlobalStat&id=x&jsoncallback=cb&params=" + b64(`["SECRET"]`)},
		{"batch in a URL", "?params=" + b64(`[{"id":1,"method":"aria2.getSessionInfo","params":["SECRET"]},{"id":1,"method":"aria2.getSessionInfo"}]`)},
		{"call in a URL without an id", "?method=aria2.getSessionInfo&params=" + b64(`["SECRET"]`)},
		{"callback of an error", "?method=aria2.tellStatus&id=1&jsoncallback=cb&params=" + b64(`["SECRET","zz"]`)},
		{"nothing in a URL", ""}, {"no JSON in a URL", "?jsoncallback=cb&params=xx"},
	} {
		res, err := http.Get(s.url + c[1])
		if err != nil {
			s.t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		inner, script := strings.CutPrefix(string(body), "cb(")
		if script {
			inner = strings.TrimSuffix(inner, ")")
		}
		s.step(c[0], fmt.Sprint(res.Header.Get("Content-Type"), " ", script, " ", shapeOfBody(res.StatusCode, inner)))
	}
	for _, method := range []string{"PUT", "OPTIONS"} {
		req, _ := http.NewRequest(method, s.url, nil)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			s.t.Fatal(err)
		}
		res.Body.Close()
		s.step(method, res.Status)
	}
}

// additions are calls that add downloads, or try to.
func (s *script) additions() {
	u := s.origin.URL + "/quick"
	type options = map[string]any
	paused := func(more options) options {
		maps.Copy(more, options{"pause": "true"})
		return more
	}
	for _, c := range []struct {
		name   string
		params []any
	}{
		{"add: nothing", nil}, {"add: number", []any{5}}, {"add: empty list", []any{[]any{}}}, {"add: list of numbers", []any{[]any{5}}},
		{"add: no URL", []any{[]any{"nonsense"}}}, {"add: unknown scheme", []any{[]any{"gopher://h/x"}}}, {"add: magnet link", []any{[]any{"magnet:?xt=foo"}}},
		{"add: options are a number", []any{[]any{u}, 5}}, {"add: position is a text", []any{[]any{u}, options{}, "x"}}, {"add: negative position", []any{[]any{u}, options{}, -1}},
		{"add: option is no number", []any{[]any{u}, paused(options{"split": "x"})}}, {"add: option out of range", []any{[]any{u}, paused(options{"split": "0"})}},
		{"add: option is no boolean", []any{[]any{u}, options{"pause": "perhaps"}}}, {"add: wrong digest", []any{[]any{u}, paused(options{"checksum": "sha-256=00"})}},
		{"add: wrong GID", []any{[]any{u}, paused(options{"gid": "zz"})}},
		{"add: header without a name", []any{[]any{u + "1"}, paused(options{"header": "nocolon"})}},
		{"add: unknown option", []any{[]any{u + "2"}, paused(options{"nonsense": "x", "seed-time": "1"})}},
		{"add: option of aria2 alone", []any{[]any{u + "3"}, paused(options{"on-download-complete": "/bin/true", "conf-path": "/x"})}},
		{"add: proxy of its own", []any{[]any{u + "4"}, paused(options{"all-proxy": "http://localhost:1"})}},
		{"add: cookies of a file", []any{[]any{u + "5"}, paused(options{"load-cookies": "/etc/passwd"})}},
		{"add: directory elsewhere", []any{[]any{u + "6"}, paused(options{"dir": "/nowhere"})}},
		{"add: several options", []any{[]any{u + "7", u + "8"}, paused(options{"gid": "00000000000000AB", "out": "sub/o", "header": []string{"A: b", "C: d"}, "max-download-limit": "1M", "split": "4", "max-connection-per-server": "2"})}},
		{"add: GID of another", []any{[]any{u + "9"}, paused(options{"gid": "00000000000000ab"})}},
	} {
		s.try(c.name, "addUri", c.params...)
	}
	s.try("add: torrent", "addTorrent", "eHg=")
	s.try("add: no torrent", "addTorrent")
	s.try("add: no metalink", "addMetalink", "eHg=")
	s.try("add: empty metalink", "addMetalink", base64.StdEncoding.EncodeToString([]byte("<metalink/>")))
}

// metalink adds two files. Their status has their lengths before anything is downloaded, in aria2 only.
func (s *script) metalink() {
	text := fmt.Sprintf(`<?xml version="1.0"?><metalink xmlns="urn:ietf:params:xml:ns:metalink"><file name="m1"><url>%[1]s/m1</url><url>%[1]s/m1b</url></file><file name="d/m2"><url>%[1]s/m2</url></file></metalink>`, s.origin.URL)
	r := s.try("add: metalink", "addMetalink", base64.StdEncoding.EncodeToString([]byte(text)), map[string]any{"pause": "true"}, 0)
	for i, gid := range r.Result.([]any) {
		s.status(fmt.Sprintf("metalink: file %d", i+1), gid.(string), "paused")
		s.must("aria2.remove", gid)
	}
}

// clear removes all downloads that wait, but one.
func (s *script) clear(but string) {
	for _, e := range s.must("aria2.tellWaiting", 0, 1000, []string{"gid"}).([]any) {
		if gid := e.(map[string]any)["gid"]; gid != but {
			s.must("aria2.remove", gid)
		}
	}
}

// paused are calls for a download that is paused.
func (s *script) paused() {
	const gid = "00000000000000ab"
	s.clear(gid)
	for i := range 4 {
		s.add(fmt.Sprintf("%s/position%d", s.origin.URL, i), map[string]any{"pause": "true"})
	}
	s.status("paused: status", gid, "paused")
	for _, c := range []struct {
		name, method string
		params       []any
	}{
		{"paused: some keys", "tellStatus", []any{[]any{"gid", "status", "nope"}}}, {"paused: keys are numbers", "tellStatus", []any{[]any{5}}}, {"paused: keys are a number", "tellStatus", []any{5}},
		{"paused: files", "getFiles", nil}, {"paused: URIs", "getUris", nil}, {"paused: servers", "getServers", nil}, {"paused: peers", "getPeers", nil}, {"paused: options", "getOption", nil},
		{"paused: pause", "pause", nil}, {"paused: force pause", "forcePause", nil}, {"paused: remove its result", "removeDownloadResult", nil},
		{"position: how", "changePosition", []any{0, "POS_X"}}, {"position: text", "changePosition", []any{"0", "POS_SET"}}, {"position: missing", "changePosition", nil}, {"position: how is missing", "changePosition", []any{0}},
		{"position: first", "changePosition", []any{0, "POS_SET"}}, {"position: beyond the end", "changePosition", []any{99, "POS_SET"}}, {"position: last", "changePosition", []any{0, "POS_END"}},
		{"position: last but one", "changePosition", []any{-1, "POS_END"}}, {"position: up", "changePosition", []any{-1, "POS_CUR"}}, {"position: down", "changePosition", []any{2, "POS_CUR"}},
		{"position: beyond the beginning", "changePosition", []any{-99, "POS_CUR"}}, {"position: negative", "changePosition", []any{-1, "POS_SET"}}, {"position: second", "changePosition", []any{1, "POS_SET"}},
		{"change URI: index 0", "changeUri", []any{0, []any{}, []any{}}}, {"change URI: index 2", "changeUri", []any{2, []any{}, []any{}}}, {"change URI: missing", "changeUri", []any{1}},
		{"change URI: position", "changeUri", []any{1, []any{}, []any{}, -1}}, {"change URI: nothing", "changeUri", []any{1, []any{}, []any{}}},
		{"change URI: one for two", "changeUri", []any{1, []any{s.origin.URL + "/quick8", "x"}, []any{s.origin.URL + "/quick9", s.origin.URL + "/quick10", 5, "nonsense"}, 0}},
		{"change URI: without the last one", "changeUri", []any{1, []any{s.origin.URL + "/quick7", s.origin.URL + "/quick9", s.origin.URL + "/quick10"}, []any{}}},
		{"change: limit", "changeOption", []any{map[string]any{"max-download-limit": "2M"}}}, {"change: option is no number", "changeOption", []any{map[string]any{"split": "x"}}},
		{"change: unknown option", "changeOption", []any{map[string]any{"nonsense": "x", "gid": "00"}}}, {"change: nothing", "changeOption", nil}, {"change: number", "changeOption", []any{5}},
	} {
		s.try(c.name, c.method, append([]any{gid}, c.params...)...)
	}
	for name, g := range map[string]any{"empty": "", "no hex": "zz", "too long": "12345678901234567", "unknown": "1234567890123456", "a number": 5} {
		s.try("GID is "+name, "tellStatus", g)
	}
	s.try("GID is missing", "tellStatus")
	s.try("GID is a beginning", "tellStatus", "000000", []any{"gid"})
}

// lists are calls for lists of downloads that are paused.
func (s *script) lists() {
	s.clear("")
	var gids []string
	for i := range 4 {
		gids = append(gids, s.add(fmt.Sprintf("%s/list%d", s.origin.URL, i), map[string]any{"pause": "true"}))
	}
	first := s.must("aria2.addUri", []string{s.origin.URL + "/list4"}, map[string]any{"pause": "true"}, 1).(string)
	gids = slices.Insert(gids, 1, first)
	s.must("aria2.changePosition", gids[1], 1, "POS_SET")
	index := func(v any) (all []int) {
		for _, e := range v.([]any) {
			all = append(all, slices.Index(gids, e.(map[string]any)["gid"].(string)))
		}
		return all
	}
	for _, c := range [][2]int{{0, 1000}, {0, 2}, {3, 10}, {4, 1}, {5, 1}, {99, 9}, {0, 0}, {-1, 1000}, {-1, 2}, {-2, 2}, {-5, 2}, {-6, 2}, {-4, 99}, {-3, 1}} {
		s.step(fmt.Sprint("waiting ", c), fmt.Sprint(index(s.must("aria2.tellWaiting", c[0], c[1], []string{"gid"}))))
	}
	s.try("waiting: number is missing", "tellWaiting", 0)
	s.try("waiting: number is negative", "tellWaiting", 0, -1)
	s.try("waiting: offset is a text", "tellWaiting", "0", 1)
	s.try("waiting: a whole one", "tellWaiting", 0, 1)
	s.try("active: none", "tellActive")
	s.try("active: keys are a number", "tellActive", 5)
	for _, gid := range gids {
		s.must("aria2.forceRemove", gid)
	}
}

// life follows downloads from their beginning to their end, with their notifications.
func (s *script) life() {
	s.must("aria2.purgeDownloadResult")
	l := s.listen()
	slow := s.add(s.origin.URL+"/slow", map[string]any{"out": "slow"})
	s.status("active: status", slow, "active")
	for _, c := range []struct {
		name, method string
		params       []any
	}{
		{"active: files", "getFiles", nil}, {"active: URIs", "getUris", nil}, {"active: servers", "getServers", nil}, {"active: peers", "getPeers", nil}, {"active: position", "changePosition", []any{0, "POS_SET"}},
		{"active: unpause", "unpause", nil}, {"active: remove its result", "removeDownloadResult", nil}, {"active: change a limit", "changeOption", []any{map[string]any{"max-download-limit": "300K"}}},
	} {
		s.try(c.name, c.method, append([]any{slow}, c.params...)...)
	}
	s.try("active: list", "tellActive", []any{"gid", "status", "totalLength"})
	s.stat("stat: one active", "1 0 0")
	s.try("active: pause", "pause", slow)
	s.status("pausing: status", slow, "paused")
	l.await(s.t, slow, "Start Pause")
	s.try("pausing: unpause", "unpause", slow)
	s.status("unpaused: status", slow, "active")
	s.try("active: remove", "remove", slow)
	s.status("removed: status", slow, "removed")
	l.await(s.t, slow, "Start Pause Start Stop")
	s.ended("removed", slow)

	quick := s.add(s.origin.URL+"/quick", map[string]any{"out": "quick"})
	s.status("complete: status", quick, "complete")
	l.await(s.t, quick, "Start Complete")
	s.ended("complete", quick)
	gone := s.add(s.origin.URL+"/404", nil)
	s.status("error: 404", gone, "error")
	l.await(s.t, gone, "Start Error")
	s.ended("error", gone)
	s.stat("stat: three stopped", "0 0 3")
	s.try("stopped: backwards", "tellStopped", -1, 2, []any{"status", "errorCode"})
	s.try("stopped: forwards", "tellStopped", 0, 2, []any{"status", "errorCode"})
	s.try("stopped: remove a result", "removeDownloadResult", slow)
	s.try("stopped: purge", "purgeDownloadResult")
	s.stat("stat: none", "0 0 0")

	idle := s.add(s.origin.URL+"/quick", map[string]any{"pause": "true"})
	s.must("aria2.remove", idle)
	s.try("removed while paused: status", "tellStatus", idle)
	s.step("removed while paused: notifications", l.of(idle))
}

// ended are calls for a download that has ended.
func (s *script) ended(name, gid string) {
	for _, method := range []string{"remove", "forceRemove", "pause", "unpause", "getUris", "getServers", "getPeers"} {
		s.try(name+": "+method, method, gid)
	}
	s.try(name+": change options", "changeOption", gid, map[string]any{})
	s.try(name+": change URIs", "changeUri", gid, 1, []any{}, []any{})
	s.try(name+": position", "changePosition", gid, 0, "POS_SET")
	s.try(name+": files", "getFiles", gid)
}

// stat waits for the numbers of active, waiting and stopped downloads, and notes the shape.
func (s *script) stat(name, want string) {
	s.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		v := s.must("aria2.getGlobalStat").(map[string]any)
		if got := fmt.Sprint(v["numActive"], " ", v["numWaiting"], " ", v["numStopped"]); got == want || time.Now().After(end) {
			delete(v, "numStoppedTotal") // also counts those that were purged, in aria2
			s.step(name, got+" "+shapeOf("", v))
			return
		}
	}
}

// all are calls for all downloads.
func (s *script) all() {
	l := s.listen()
	var gids []string
	for i := range 2 {
		gids = append(gids, s.add(fmt.Sprintf("%s/slow%d", s.origin.URL, i), nil))
		s.await(gids[i], "active")
	}
	s.try("all: pause", "pauseAll")
	for _, gid := range gids {
		s.await(gid, "paused")
		l.await(s.t, gid, "Start Pause")
	}
	s.try("all: unpause", "unpauseAll", "further", 5)
	for _, gid := range gids {
		s.await(gid, "active")
	}
	s.try("all: force pause", "forcePauseAll")
	for _, gid := range gids {
		s.await(gid, "paused")
		l.await(s.t, gid, "Start Pause Start Pause")
		s.must("aria2.forceRemove", gid)
	}
}

// globals are calls that concern the daemon.
func (s *script) globals() {
	s.try("features", "getVersion")
	s.try("session", "getSessionInfo")
	s.try("save session", "saveSession")
	s.try("global options", "getGlobalOption")
	s.try("change global: unknown option", "changeGlobalOption", map[string]any{"nonsense": "x", "enable-rpc": "x", "gid": "00"})
	s.try("change global: number of jobs 0", "changeGlobalOption", map[string]any{"max-concurrent-downloads": "0"})
	s.try("change global: missing", "changeGlobalOption")
	s.try("change global: limits", "changeGlobalOption", map[string]any{"max-concurrent-downloads": "3", "max-overall-download-limit": "2M", "max-download-limit": "1M"})
	after := s.must("aria2.getGlobalOption").(map[string]any)
	s.step("global options after the change", fmt.Sprint(after["max-concurrent-downloads"], after["max-overall-download-limit"], after["max-download-limit"]))
	gid := s.add(s.origin.URL+"/quick", map[string]any{"pause": "true", "referer": "http://r/"})
	o := s.must("aria2.getOption", gid).(map[string]any)
	s.step("options of a later download", fmt.Sprint(o["max-download-limit"], o["referer"], o["allow-overwrite"], o["auto-file-renaming"], o["continue"]))
	s.must("aria2.remove", gid)
	s.must("aria2.changeGlobalOption", map[string]any{"max-overall-download-limit": "0", "max-download-limit": "0"})
	names := s.must("system.listMethods").([]any)
	s.step("methods", fmt.Sprint(names))
	slices.SortFunc(names, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
	s.step("methods, sorted", fmt.Sprint(names))
}

// socket are requests over a WebSocket.
func (s *script) socket() {
	conn := s.dial()
	for i, text := range []string{"nope", "[]", `"x"`, `{"id":"q","method":"aria2.getSessionInfo","params":["SECRET"]}`, `{"id":"q","method":"aria2.tellStatus","params":["SECRET","zz"]}`,
		`[{"id":1,"method":"aria2.getSessionInfo","params":["SECRET"]},{}]`, `{"id":1,"method":"aria2.getSessionInfo"}`} {
		s.step(fmt.Sprint("socket ", i), shapeOfBody(0, conn(strings.ReplaceAll(text, "SECRET", "token:"+secret))))
	}
}

// runScript runs the script against a server whose queue is empty.
func runScript(t *testing.T, c *client, o *origin) *script {
	s := &script{client: c, origin: o, got: make(map[string]string)}
	s.requests()
	s.queries()
	s.additions()
	s.metalink()
	s.paused()
	s.lists()
	s.life()
	s.all()
	s.globals()
	s.socket()
	return s
}

// TestConformance runs a script against aria2c of the system and against pawl, and compares their answers.
// With PAWL_TEST_SERVERS=required a missing aria2c fails the test.
func TestConformance(t *testing.T) {
	t.Parallel()
	if os.Getenv("PAWL_TEST_ALL") == "" {
		t.Skip("PAWL_TEST_ALL is not set")
	}
	_, err := exec.LookPath("aria2c")
	needProgram(t, err, "aria2c is needed to compare with it")
	o := newOrigin(t)
	theirs, ours := runScript(t, startAria2(t), o), runScript(t, newRig(t, 4).client, o)
	for _, name := range theirs.steps {
		_, differs := differences[name]
		switch want, got := theirs.got[name], ours.got[name]; {
		case want != got && !differs:
			t.Errorf("%s:\naria2 %s\npawl  %s", name, want, got)
		case want == got && differs:
			t.Errorf("%s: does not differ any more: %s", name, got)
		}
	}
	for name := range differences {
		if _, ok := theirs.got[name]; !ok {
			t.Errorf("%s: no such step", name)
		}
	}
	t.Logf("%d steps, %d differences", len(theirs.steps), len(differences))
}

// startAria2 starts aria2c with RPC, and returns its client.
func startAria2(t *testing.T) *client {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	dir := t.TempDir()
	cmd := exec.Command("aria2c", "--no-conf", "--enable-rpc", fmt.Sprint("--rpc-listen-port=", port), "--rpc-secret="+secret, "--dir="+dir, "--file-allocation=none",
		"--max-tries=2", "--retry-wait=1", "--dht-file-path="+filepath.Join(dir, "dht"), "--enable-dht=false", "--quiet")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	c := &client{t: t, url: fmt.Sprintf("http://127.0.0.1:%d/jsonrpc", port)}
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		res, err := http.Post(c.url, "", strings.NewReader(`{"id":1,"method":"system.listMethods"}`))
		if err == nil {
			res.Body.Close()
			return c
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}
