package page

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long a test waits for what must happen. It is long because the machine may be busy.
const patience = 90 * time.Second

// A browser is a Chromium that obeys by the DevTools protocol over a pipe.
type browser struct {
	toBrowser *os.File

	mu       sync.Mutex
	next     int
	answers  map[int]chan message
	problems []string // errors on the console and in the script
}

// A message is a request, an answer or an event of the DevTools protocol.
type message struct {
	ID      int             `json:"id,omitempty"`
	Session string          `json:"sessionId,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  any             `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// newBrowser starts Chromium. The test is skipped without PAWL_TEST_BROWSER=1, because a browser needs the
// machine for itself: beside other tests it is so slow that a click meets what has moved away.
func newBrowser(t *testing.T) *browser {
	t.Helper()
	if os.Getenv("PAWL_TEST_BROWSER") != "1" {
		t.Skip("runs with PAWL_TEST_BROWSER=1")
	}
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS == "windows" {
		t.Skip("a program cannot inherit a pipe there")
	}
	readCommands, toBrowser, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fromBrowser, writeAnswers, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	cmd := exec.Command(path, "--headless=new", "--no-sandbox", "--remote-debugging-pipe", "--user-data-dir="+home+"/profile", "--no-first-run",
		"--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions", "--disable-background-networking", "--disable-component-update",
		"--disable-sync", "--no-default-browser-check", "--hide-scrollbars", "--lang=en-US", "--font-render-hinting=none", "about:blank")
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_CACHE_HOME="+home, "TZ=UTC")
	cmd.ExtraFiles = []*os.File{readCommands, writeAnswers}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	readCommands.Close()
	writeAnswers.Close()
	b := &browser{toBrowser: toBrowser, answers: make(map[int]chan message)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.read(fromBrowser)
	}()
	t.Cleanup(func() {
		b.send(message{ID: -1, Method: "Browser.close"})
		ended := make(chan struct{})
		go func() {
			cmd.Wait()
			close(ended)
		}()
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			cmd.Process.Kill()
			<-ended
		}
		toBrowser.Close()
		fromBrowser.Close()
		<-done
		for range 50 { // its other processes may still write to the profile
			if os.RemoveAll(home) == nil {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
	return b
}

// send sends a message. In the pipe, messages end with a zero byte.
func (b *browser) send(m message) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	_, err = b.toBrowser.Write(append(text, 0))
	return err
}

// read reads messages until the browser ends.
func (b *browser) read(from *os.File) {
	r := bufio.NewReader(from)
	for {
		text, err := r.ReadBytes(0)
		if err != nil {
			b.mu.Lock()
			for id, c := range b.answers {
				close(c)
				delete(b.answers, id)
			}
			b.mu.Unlock()
			return
		}
		var m message
		if err := json.Unmarshal(text[:len(text)-1], &m); err != nil {
			continue
		}
		b.mu.Lock()
		if c := b.answers[m.ID]; c != nil {
			delete(b.answers, m.ID)
			c <- m
		}
		if problem := problemOf(m.Method, text[:len(text)-1]); problem != "" {
			b.problems = append(b.problems, problem)
		}
		b.mu.Unlock()
	}
}

// problemOf returns what an event says about an error in the page, "" if it does not. The stream of events
// may break off when the server of the test before ends.
func problemOf(method string, text []byte) string {
	var event struct {
		Params struct {
			Type  string
			Entry struct{ Source, Level, Text, URL string }
		}
	}
	json.Unmarshal(text, &event)
	p := event.Params
	switch {
	case method == "Runtime.exceptionThrown",
		method == "Runtime.consoleAPICalled" && (p.Type == "error" || p.Type == "warning"):
		return string(text)
	case p.Entry.Source == "network" && strings.HasSuffix(p.Entry.URL, "/api/v1/events"):
	case method == "Log.entryAdded" && (p.Entry.Level == "error" || p.Entry.Level == "warning"):
		return p.Entry.Text + " " + p.Entry.URL
	}
	return ""
}

// takeProblems returns the errors so far, and forgets them.
func (b *browser) takeProblems() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	problems := b.problems
	b.problems = nil
	return problems
}

// A tab is a page in the browser. Its methods end the test if they fail.
type tab struct {
	*browser
	t       *testing.T
	session string
}

// open opens a page that is width × height pixels large.
func (b *browser) open(t *testing.T, url string, width, height int) *tab {
	t.Helper()
	p := &tab{b, t, ""}
	var target struct{ TargetID string }
	p.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	p.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	p.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log", "Accessibility"} {
		p.call(domain+".enable", nil, nil)
	}
	t.Cleanup(func() {
		if t.Failed() && os.Getenv("PAWL_TEST_PICTURES") != "" {
			p.picture("failed.png")
		}
		p.session = ""
		p.call("Target.closeTarget", map[string]any{"targetId": target.TargetID}, nil)
	})
	p.resize(width, height)
	p.call("Emulation.setFocusEmulationEnabled", map[string]any{"enabled": true}, nil)
	p.call("Page.navigate", map[string]any{"url": url}, nil)
	return p
}

func (p *tab) resize(width, height int) {
	p.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}, nil)
}

// prefer sets media features, for example "prefers-color-scheme", "dark".
func (p *tab) prefer(name, value string) {
	p.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": name, "value": value}}}, nil)
}

// call calls a method of the protocol.
func (p *tab) call(method string, params, result any) {
	p.t.Helper()
	answer := make(chan message, 1)
	p.mu.Lock()
	p.next++
	id := p.next
	p.answers[id] = answer
	p.mu.Unlock()
	if params == nil {
		params = struct{}{}
	}
	if err := p.send(message{ID: id, Session: p.session, Method: method, Params: params}); err != nil {
		p.t.Fatalf("%s: %v", method, err)
	}
	select {
	case m, ok := <-answer:
		if !ok {
			p.t.Fatalf("%s: the browser has ended", method)
		}
		if m.Error != nil {
			p.t.Fatalf("%s: %s", method, m.Error.Message)
		}
		if result != nil {
			if err := json.Unmarshal(m.Result, result); err != nil {
				p.t.Fatalf("%s: %v", method, err)
			}
		}
	case <-time.After(patience):
		p.t.Fatalf("%s: no answer", method)
	}
}

// eval evaluates an expression in the page and stores its value in result.
func (p *tab) eval(expression string, result any) {
	p.t.Helper()
	var answer struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Exception struct{ Description string }
		}
	}
	p.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &answer)
	if answer.ExceptionDetails != nil {
		p.t.Fatalf("%s: %s", expression, answer.ExceptionDetails.Exception.Description)
	}
	if result != nil && answer.Result.Value != nil {
		if err := json.Unmarshal(answer.Result.Value, result); err != nil {
			p.t.Fatalf("%s: got %s: %v", expression, answer.Result.Value, err)
		}
	}
}

// text returns the value of an expression as a text.
func (p *tab) text(expression string) (s string) {
	p.t.Helper()
	p.eval("String("+expression+")", &s)
	return s
}

// wait waits until a condition is true.
func (p *tab) wait(condition string) {
	p.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(30 * time.Millisecond) {
		var ok bool
		p.eval("!!("+condition+")", &ok)
		if ok {
			return
		}
		if time.Now().After(end) {
			p.t.Fatalf("this has not happened: %s\n%s", condition, p.text("document.body.innerText"))
		}
	}
}

// A point is a place in the window, in pixels.
type point struct{ X, Y float64 }

// center scrolls to an element and returns its center, when nothing covers it and the page has come to rest.
func (p *tab) center(element string) (at point) {
	p.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(30 * time.Millisecond) {
		var found *point
		p.eval(fmt.Sprintf(`(async () => {
			const e = %s;
			if (!e) return null;
			e.scrollIntoView({block: "center"});
			let was, r;
			for (let i = 0; i < 4; i++) {
				await new Promise(requestAnimationFrame);
				r = e.getBoundingClientRect();
				if (was && (was.x !== r.x || was.y !== r.y)) return null;
				was = r;
			}
			const at = {X: r.x + r.width / 2, Y: r.y + r.height / 2}, hit = document.elementFromPoint(at.X, at.Y);
			return hit && (e.contains(hit) || hit.contains(e)) ? at : null;
		})()`, element), &found)
		if found != nil {
			return *found
		}
		if time.Now().After(end) {
			p.t.Fatalf("this cannot be clicked: %s\n%s", element, p.text("document.body.innerText"))
		}
	}
}

func (p *tab) mouse(kind string, at point) {
	buttons := 1
	if kind == "mouseReleased" {
		buttons = 0
	}
	p.call("Input.dispatchMouseEvent", map[string]any{"type": kind, "x": at.X, "y": at.Y, "button": "left", "buttons": buttons, "clickCount": 1}, nil)
}

// click clicks on the center of an element, which an expression returns.
func (p *tab) click(element string) {
	p.t.Helper()
	at := p.center(element)
	p.mouse("mousePressed", at)
	p.mouse("mouseReleased", at)
}

// keyCodes are the codes of keys that have no character.
var keyCodes = map[string]int{"ArrowUp": 38, "ArrowDown": 40, "Home": 36, "End": 35, "Enter": 13, "Tab": 9, "Escape": 27, "Delete": 46}

// press presses a key, for example "Alt+ArrowDown".
func (p *tab) press(key string) {
	p.t.Helper()
	modifiers := 0
	key, alt := strings.CutPrefix(key, "Alt+")
	if alt {
		modifiers = 1
	}
	params := map[string]any{"type": "keyDown", "key": key, "modifiers": modifiers}
	switch code := keyCodes[key]; {
	case code == 0:
		params["text"], params["windowsVirtualKeyCode"] = key, int(strings.ToUpper(key)[0])
	case key == "Enter":
		params["text"], params["windowsVirtualKeyCode"], params["code"] = "\r", code, key
	default:
		params["windowsVirtualKeyCode"], params["code"] = code, key
	}
	p.call("Input.dispatchKeyEvent", params, nil)
	params["type"] = "keyUp"
	delete(params, "text")
	p.call("Input.dispatchKeyEvent", params, nil)
}

// write replaces the text of a field, as a user who types.
func (p *tab) write(element, text string) {
	p.t.Helper()
	focused := "(e => { e?.focus(); e?.select(); return e && document.activeElement === e; })(" + element + ")"
	p.wait(focused) // a dialog may be about to close
	time.Sleep(50 * time.Millisecond)
	p.wait(focused) // and then gives the focus back to what has opened it
	if text == "" {
		p.press("Delete")
		return
	}
	p.call("Input.insertText", map[string]any{"text": text}, nil)
}

// picture writes what the page looks like into a file in the directory PAWL_TEST_PICTURES, if it is set.
func (p *tab) picture(name string) {
	dir := os.Getenv("PAWL_TEST_PICTURES")
	if dir == "" {
		return
	}
	var shot struct{ Data string }
	p.call("Page.captureScreenshot", nil, &shot)
	data, err := base64.StdEncoding.DecodeString(shot.Data)
	if err == nil {
		err = os.WriteFile(dir+"/page-"+name, data, 0o600)
	}
	if err != nil {
		p.t.Error(err)
	}
}

// An axNode is a node of the accessibility tree.
type axNode struct {
	role, name, value string
	properties        map[string]string
}

// tree returns the accessibility tree as a list, without ignored nodes.
func (p *tab) tree() (nodes []axNode) {
	type value struct{ Value any }
	var answer struct {
		Nodes []struct {
			Ignored           bool
			Role, Name, Value value
			Properties        []struct {
				Name  string
				Value value
			}
		}
	}
	p.call("Accessibility.getFullAXTree", nil, &answer)
	for _, n := range answer.Nodes {
		if n.Ignored {
			continue
		}
		a := axNode{fmt.Sprint(n.Role.Value), strings.TrimPrefix(fmt.Sprint(n.Name.Value), "<nil>"), strings.TrimPrefix(fmt.Sprint(n.Value.Value), "<nil>"), make(map[string]string)}
		for _, property := range n.Properties {
			a.properties[property.Name] = fmt.Sprint(property.Value.Value)
		}
		nodes = append(nodes, a)
	}
	return nodes
}
