package aria2rpc

import (
	"context"
	"fmt"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// runClient runs a program that drives a handler. Its arguments are a port, the secret and a URL of files. It prints "ok"
// at its end.
func runClient(t *testing.T, r *rig, o *origin, command ...string) {
	t.Helper()
	u, _ := url.Parse(r.url)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], append(command[1:], u.Port(), secret, o.URL)...)
	if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "ok" {
		t.Errorf("%v: %v\n%s", command, err, out)
	}
}

// TestPython drives the handler from Python over a WebSocket. With PAWL_TEST_SERVERS=required a missing python3
// fails the test.
func TestPython(t *testing.T) {
	t.Parallel()
	_, err := exec.LookPath("python3")
	needProgram(t, err, "python3 is needed")
	runClient(t, newRig(t, 2), newOrigin(t), "python3", "testdata/websocket.py")
}

// TestAria2JS drives the handler with npm's library aria2, which node must find: npm install -g aria2@4.1.2, and
// NODE_PATH=$(npm root -g).
func TestAria2JS(t *testing.T) {
	t.Parallel()
	if out, err := exec.Command("node", "-e", `require("aria2")`).CombinedOutput(); err != nil {
		t.Skipf("node and npm's aria2 are needed: %v %.200s", err, out)
	}
	runClient(t, newRig(t, 2), newOrigin(t), "node", "testdata/aria2js.js")
}

// TestAriaNg makes the calls that AriaNg makes: its lists, a multicall for one download, and "restart", which adds a
// download again with the options and URIs that are shown. It sends no secret to the methods of system.
func TestAriaNg(t *testing.T) {
	t.Parallel()
	o, r := newOrigin(t), newRig(t, 1)
	keys := []string{"gid", "totalLength", "completedLength", "uploadSpeed", "downloadSpeed", "connections", "numSeeders", "seeder", "status", "errorCode", "verifiedLength", "verifyIntegrityPending", "files", "bittorrent", "infoHash"}
	gone := r.add(o.URL+"/404", map[string]any{"out": "x", "dir": "sub", "header": []string{"X-A: b"}, "max-download-limit": "0"})
	r.await(gone, "error")
	for _, method := range []string{"aria2.tellWaiting", "aria2.tellStopped"} {
		offset := map[string]int{"aria2.tellWaiting": 0, "aria2.tellStopped": -1}[method]
		tasks := r.must(method, offset, 1000, keys).([]any)
		if method == "aria2.tellStopped" && (len(tasks) != 1 || len(tasks[0].(map[string]any)) != 9) {
			t.Errorf("%s: %v", method, tasks)
		}
	}
	text := fmt.Sprintf(`{"jsonrpc":"2.0","method":"system.multicall","id":"x","params":[[{"methodName":"aria2.tellStatus","params":["token:%[1]s","%[2]s"]},{"methodName":"aria2.getOption","params":["token:%[1]s","%[2]s"]}]]}`, secret, gone)
	if status, body := r.post(text); status != 200 || strings.Count(body, "[{") < 2 {
		t.Errorf("%d %s", status, body)
	}
	options := r.must("aria2.getOption", gone).(map[string]any)
	again := r.must("aria2.addUri", []string{o.URL + "/quick"}, options).(string)
	if s := r.await(again, "complete"); !strings.HasSuffix(s["files"].([]any)[0].(map[string]any)["path"].(string), "/sub/x") {
		t.Errorf("%v", s)
	}
	r.must("aria2.removeDownloadResult", gone)
}
