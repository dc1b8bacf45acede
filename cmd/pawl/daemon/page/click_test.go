package page

import (
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// serve serves the page with a fake of the API and opens it.
func serve(t *testing.T, b *browser, f *fake, width, height int) *tab {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(func() {
		f.setDown(true)
		s.CloseClientConnections()
		s.Close()
	})
	p := b.open(t, s.URL, width, height)
	p.wait(`document.getElementById("link")?.className === "on" || document.getElementById("login")?.hidden === false`)
	return p
}

// row returns an expression for the row of a task, or for a part of it.
func row(t *fakeTask, part string) string {
	return fmt.Sprintf("[...document.querySelectorAll('.task')].find(li => li.entry.t.id === %q)?.querySelector(%q)", t.ID, part)
}

// section returns an expression for the names in a section, joined.
func section(name string) string {
	return fmt.Sprintf("[...document.querySelectorAll('#s-%s:not([hidden]) .name bdi')].map(e => e.textContent).join(' ')", name)
}

func (p *tab) wantSection(name, names string) {
	p.t.Helper()
	p.wait(section(name) + " === " + fmt.Sprintf("%q", names))
}

func dialog(name, part string) string {
	return fmt.Sprintf("document.querySelector('#d-%s[open] %s')", name, part)
}

func waiting(name string) *fakeTask {
	return &fakeTask{State: "waiting", URL: "https://files.example.org/" + name, Size: -1}
}

// TestPage uses the page in Chromium as a user does, and looks at what the API then has.
func TestPage(t *testing.T) {
	b := newBrowser(t)
	for _, tt := range []struct {
		name string
		test func(*testing.T, *browser)
	}{
		{"add", testAdd}, {"pause", testPause}, {"order", testOrder}, {"limits", testLimits}, {"remove", testRemove},
		{"details", testDetails}, {"lost", testLost}, {"login", testLogin}, {"hostile", testHostile}, {"many", testMany},
		{"keys", testKeys}, {"accessibility", testAccessibility}, {"motion", testMotion}, {"widths", testWidths}, {"pictures", testPictures},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.takeProblems()
			tt.test(t, b)
			for _, problem := range b.takeProblems() {
				t.Errorf("the console says: %s", problem)
			}
		})
	}
}

func testAdd(t *testing.T, b *browser) {
	f := newFake()
	f.put(waiting("old.bin"))
	p := serve(t, b, f, 1200, 800)
	p.click("document.getElementById('add')")
	p.write(dialog("add", "[name=urls]"), "https://a.example/one.iso\n\n # a comment\n https://b.example/two.iso \n")
	p.wait("document.getElementById('add-count').textContent === '2 addresses'")
	p.click(dialog("add", "summary"))
	p.write(dialog("add", "[name=dir]"), "images")
	p.write(dialog("add", "[name=limit]"), "2 megabytes")
	p.click(dialog("add", ".main"))
	p.wait(dialog("add", ".error") + ".textContent.includes('is not a rate')")
	p.wait("document.activeElement.name === 'limit' && document.activeElement.getAttribute('aria-invalid') === 'true'")
	p.write(dialog("add", "[name=limit]"), "2M")
	p.write(dialog("add", "[name=header]"), "Accept: text/plain\nX-Key: abc")
	p.write(dialog("add", "[name=login]"), "me")
	p.write(dialog("add", "[name=password]"), "secret:word")
	p.click(dialog("add", "[name=first]"))
	p.click(dialog("add", "[name=paused]"))
	p.click(dialog("add", ".main"))
	p.wantSection("queue", "one.iso two.iso old.bin")
	p.wait("!document.querySelector('dialog[open]')")
	f.mu.Lock()
	one := *f.unfinished[0]
	f.mu.Unlock()
	if one.State != "paused" || one.LimitRate != 2<<20 || one.Dir != "images" || one.User != "me:secret:word" || !slices.Equal(one.Header, []string{"Accept: text/plain", "X-Key: abc"}) {
		t.Errorf("got the task %+v", one)
	}
	// What the server refuses stays in the dialog, with the reason.
	p.click("document.getElementById('add')")
	p.write(dialog("add", "[name=urls]"), "ftp://c.example/three")
	p.press("Tab")
	p.click(dialog("add", ".main"))
	p.wait(dialog("add", ".error") + ".textContent.includes('is not an http')")
	// One file with mirrors and a checksum.
	p.write(dialog("add", "[name=urls]"), "https://c.example/three\nhttps://d.example/three")
	p.click(dialog("add", "[value=mirrors]"))
	p.click(dialog("add", "summary"))
	p.write(dialog("add", "[name=checksum]"), "sha256:00")
	p.click(dialog("add", ".main"))
	p.wantSection("queue", "one.iso two.iso old.bin three")
	f.mu.Lock()
	three := *f.unfinished[3]
	f.mu.Unlock()
	if len(three.URLs) != 2 || three.Checksum != "sha256:00" || three.LimitRate != 0 || three.State != "waiting" {
		t.Errorf("got the task %+v", three)
	}
	// A list as text. Pasting anywhere opens the dialog.
	p.wait("!document.querySelector('dialog[open]')")
	p.eval(`(() => {
		const data = new DataTransfer();
		data.setData("text/plain", "https://e.example/four\n  out=4.bin\n");
		document.body.dispatchEvent(new ClipboardEvent("paste", {clipboardData: data, bubbles: true}));
	})()`, nil)
	p.click(dialog("add", "[value=text]"))
	p.click(dialog("add", ".main"))
	f.waitFor(t, "the list is added", func() bool {
		last := f.unfinished[len(f.unfinished)-1]
		return len(f.unfinished) == 5 && last.List && last.Text == "https://e.example/four\n  out=4.bin\n"
	})
	for _, problem := range b.takeProblems() {
		if !strings.Contains(problem, "400 (Bad Request)") { // Chromium logs each of them
			t.Errorf("the console says: %s", problem)
		}
	}
}

func testPause(t *testing.T, b *browser) {
	f := newFake()
	running, queued, failed := &fakeTask{State: "active", URL: "https://a.example/running", Size: 1000, Held: 500, Rate: 10, Conns: 1}, waiting("queued"),
		&fakeTask{State: "error", URL: "https://a.example/failed", Size: 1000, Held: 1, Reason: "HTTP error 404", Exit: 8}
	f.put(running, queued, failed)
	p := serve(t, b, f, 1200, 800)
	p.wantSection("active", "running")
	p.wait("document.title.includes('1 running')")
	p.click(row(running, ".toggle"))
	p.wantSection("queue", "running queued")
	p.wait(row(running, ".state") + ".textContent === 'paused'")
	p.wait("document.activeElement === " + row(running, ".toggle")) // the focus follows the row
	p.press("p")
	f.waitFor(t, "it is resumed", func() bool { return running.State == "waiting" })
	p.wait(row(running, ".toggle") + ".title === 'Pause'")
	p.click("document.getElementById('pause-all')")
	f.waitFor(t, "all are paused", func() bool { return running.State == "paused" && queued.State == "paused" && failed.State == "error" })
	p.click("document.getElementById('resume-all')")
	f.waitFor(t, "all are resumed", func() bool { return running.State == "waiting" && queued.State == "waiting" && failed.State == "error" })
	p.click("document.getElementById('retry-all')")
	p.wantSection("queue", "running queued failed")
	p.wait("document.getElementById('s-failed').hidden")
	f.happen("started", running, func() { running.State, running.Conns = "active", 8 })
	p.wantSection("active", "running")
	f.happen("complete", running, func() {
		running.State, running.Held, running.Proof, running.Path = "complete", 1000, "digest:you", "/srv/downloads/running"
	})
	p.wantSection("done", "running")
	p.wait(row(running, ".state") + ".textContent === 'your digest'")
	p.wait("document.getElementById('news').textContent === 'running complete'")
	f.happen("error", queued, func() { queued.State, queued.Reason = "error", "HTTP error 410" })
	p.wantSection("failed", "queued")
	p.click("document.getElementById('clear')")
	p.wait(dialog("sure", "#sure-what"))
	p.click(dialog("sure", ".main"))
	p.wait("document.getElementById('s-done').hidden && document.getElementById('s-failed').hidden")
}

func testOrder(t *testing.T, b *browser) {
	f := newFake()
	all := []*fakeTask{waiting("a"), waiting("b"), waiting("c"), waiting("d"), waiting("e")}
	f.put(all...)
	order := func(want string) {
		t.Helper()
		f.waitFor(t, want, func() bool {
			var names []string
			for _, task := range f.unfinished {
				names = append(names, task.URL[len(task.URL)-1:])
			}
			return strings.Join(names, " ") == want
		})
	}
	p := serve(t, b, f, 1200, 800)
	p.wantSection("queue", "a b c d e")
	p.eval(row(all[0], ".name")+".focus()", nil)
	p.press("Alt+ArrowDown")
	p.press("Alt+ArrowDown")
	order("b c a d e")
	p.wantSection("queue", "b c a d e")
	p.wait("document.activeElement === " + row(all[0], ".name"))
	p.wait("document.getElementById('news').textContent === 'a: position 3 of 5'")
	p.press("Alt+End")
	order("b c d e a")
	p.press("Alt+ArrowUp")
	order("b c d a e")
	p.press("Alt+Home")
	order("a b c d e")
	p.press("ArrowDown")
	p.press("Enter")
	p.click(row(all[1], ".detail [data-do=last]"))
	order("a c d e b")
	p.click(row(all[1], ".name"))
	// Drag a below d, then e above a.
	for _, tt := range []struct {
		from, to *fakeTask
		by       float64
		want     string
	}{{all[0], all[3], 10, "c d a e b"}, {all[1], all[2], -10, "b c d a e"}} {
		from, to := p.center(row(tt.from, ".grip")), p.center(row(tt.to, ".grip"))
		p.mouse("mousePressed", from)
		p.mouse("mouseMoved", point{from.X, from.Y + 8})
		p.mouse("mouseMoved", point{to.X, to.Y + tt.by})
		p.wait("document.querySelector('.before, .after')")
		p.mouse("mouseReleased", point{to.X, to.Y + tt.by})
		order(tt.want)
		p.wantSection("queue", tt.want)
	}
	// The same with a finger.
	from, to := p.center(row(all[4], ".grip")), p.center(row(all[1], ".grip"))
	touch := func(kind string, at ...point) {
		points := []map[string]float64{}
		for _, a := range at {
			points = append(points, map[string]float64{"x": a.X, "y": a.Y})
		}
		p.call("Input.dispatchTouchEvent", map[string]any{"type": kind, "touchPoints": points}, nil)
	}
	touch("touchStart", from)
	touch("touchMove", point{from.X, from.Y - 20})
	touch("touchMove", point{to.X, to.Y - 10})
	p.wait("document.querySelector('.before')")
	touch("touchEnd")
	order("e b c d a")
	p.wantSection("queue", "e b c d a")
	// Escape ends a drag, and nothing moves.
	at := p.center(row(all[0], ".grip"))
	p.mouse("mousePressed", at)
	p.mouse("mouseMoved", point{at.X, at.Y - 100})
	p.wait("document.querySelector('.dragged')")
	p.press("Escape")
	p.wait("!document.querySelector('.dragged')")
	p.mouse("mouseReleased", point{at.X, at.Y - 100})
	// Somebody else moves two at once: the page shows the true order.
	f.mu.Lock()
	f.move(all[0], 0)
	f.move(all[3], 1)
	f.tell("moved", all[3])
	f.tell("moved", all[0])
	f.mu.Unlock()
	p.wantSection("queue", "a d e b c")
	p.wait(row(all[1], ".pos") + ".textContent === '4'")
}

func testLimits(t *testing.T, b *browser) {
	f := newFake()
	one := &fakeTask{State: "active", URLs: []string{"https://a.example/one", "https://b.example/one"}, Size: 1000, Held: 500, Lost: []string{"Cookie"}, LimitRate: 1 << 20}
	f.put(one)
	p := serve(t, b, f, 1200, 800)
	p.write("document.getElementById('limit')", "1.5M")
	p.press("Enter")
	f.waitFor(t, "the rate is limited", func() bool { return fmt.Sprint(f.status["limit_rate"]) == fmt.Sprint(float64(1.5*(1<<20))) })
	p.write("document.getElementById('limit')", "fast")
	p.press("Tab")
	p.wait("document.getElementById('wrong').textContent.includes('is not a rate')")
	p.click("document.getElementById('close-note')")
	p.wait("document.getElementById('limit').value === '1.5M'")
	p.write("document.getElementById('limit')", "")
	p.press("Tab")
	f.waitFor(t, "the rate is not limited", func() bool { return fmt.Sprint(f.status["limit_rate"]) == "0" })
	p.write("document.getElementById('jobs')", "7")
	p.press("Enter")
	f.waitFor(t, "more jobs", func() bool { return fmt.Sprint(f.status["jobs"]) == "7" })

	p.eval(row(one, ".name")+".focus()", nil)
	p.press("c")
	p.wait(dialog("change", "[name=limit]") + ".value === '1M'")
	p.wait(dialog("change", ".lost") + ".textContent.includes('Cookie')")
	p.write(dialog("change", "[name=urls]"), "https://c.example/new?token=1\nhttps://b.example/one")
	p.write(dialog("change", "[name=limit]"), "300K")
	p.write(dialog("change", "[name=connections]"), "3")
	p.write(dialog("change", "[name=header]"), "Cookie: a=b")
	p.click(dialog("change", ".main"))
	f.waitFor(t, "the task is changed", func() bool {
		return len(one.URLs) == 2 && one.URL == "https://c.example/new?token=1" && one.LimitRate == 300<<10 && one.Connections == 3 && len(one.Lost) == 0 && len(one.Header) == 1
	})
	p.wait("!document.querySelector('dialog[open]')")
	p.wait("document.activeElement === " + row(one, ".name"))
}

func testRemove(t *testing.T, b *browser) {
	f := newFake()
	begun := &fakeTask{State: "paused", URL: "https://a.example/begun.iso", Path: "/srv/downloads/begun.iso", Size: 2 << 30, Held: 1 << 30}
	fresh, running := waiting("fresh"), &fakeTask{State: "active", URL: "https://a.example/running", Path: "/srv/downloads/running", Size: 1000, Held: 500}
	done := &fakeTask{State: "complete", URL: "https://a.example/done", Path: "/srv/downloads/done", Size: 3 << 20, Held: 3 << 20, Proof: "checksums", Ended: time.Now()}
	f.put(begun, fresh, running, done)
	p := serve(t, b, f, 1200, 800)
	p.wantSection("queue", "begun.iso fresh")
	// Escape and Cancel change nothing.
	p.click(row(begun, ".remove"))
	p.wait(dialog("sure", "li bdi") + ".textContent === '/srv/downloads/begun.iso.part'")
	p.wait(dialog("sure", "li .fig") + ".textContent === '1.0 GiB'")
	p.wait("document.activeElement.className === 'cancel'")
	p.press("Escape")
	p.wait("!document.querySelector('dialog[open]') && document.activeElement === " + row(begun, ".remove"))
	p.press("Delete")
	p.click(dialog("sure", ".cancel"))
	p.wait("!document.querySelector('dialog[open]')")
	p.press("Delete")
	p.click(dialog("sure", ".danger"))
	p.wantSection("queue", "fresh")
	p.wait("document.activeElement === " + row(fresh, ".name")) // the next one
	// Nothing of it is here, so there is nothing to delete.
	p.press("Delete")
	p.wait(dialog("sure", ".danger") + ".hidden && " + dialog("sure", ".what") + ".textContent.includes('no file is deleted')")
	p.click(dialog("sure", ".end .main"))
	p.wait("document.getElementById('s-queue').hidden")
	p.click(row(running, ".remove"))
	p.click(dialog("sure", ".end .main"))
	p.wantSection("done", "running done")
	p.click(row(done, ".remove"))
	p.wait(dialog("sure", "li bdi") + ".textContent === '/srv/downloads/done'")
	p.click(dialog("sure", ".danger"))
	p.wantSection("done", "running")
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Equal(f.deleted, []string{begun.ID, done.ID}) {
		t.Errorf("the files of %v are deleted", f.deleted)
	}
}

func testDetails(t *testing.T, b *browser) {
	f := newFake()
	f.put(states()...)
	p := serve(t, b, f, 1200, 900)
	find := func(name string) *fakeTask {
		for _, task := range append(slices.Clone(f.unfinished), f.ended...) {
			if strings.HasSuffix(task.URL, name) {
				return task
			}
		}
		t.Fatalf("no task %s", name)
		return nil
	}
	shows := func(name string, texts ...string) {
		t.Helper()
		task := find(name)
		p.click(row(task, ".name"))
		for _, text := range texts {
			p.wait(row(task, ".detail") + fmt.Sprintf("?.textContent.includes(%q)", text))
		}
		p.wait(row(task, ".name") + ".getAttribute('aria-expanded') === 'true'")
	}
	shows("debian-13.2.0-amd64-DVD-1.iso", "in 5 ranges", "https://mirror.example.net/", "put aside: the file has another size", "2.0 GiB")
	debian := find("debian-13.2.0-amd64-DVD-1.iso")
	p.wait(row(debian, ".map path") + ".getAttribute('d').split('M').length === 6")
	shows("model-00002-of-00050.safetensors", "HTTP error 429: too many requests, until")
	shows("backup.tar.zst", "for its turn: 1 download before it, 4 at a time", "User, Authorization")
	shows("signed.tar.gz", "for its turn: it is the next")
	shows("expired.bin", "HTTP error 403", "exit code 8")
	shows("SHA256SUMS", "40 files, 31 here, 2 failed, 1 line of the list not understood",
		"pool/a.deb: HTTP error 404: not found", "and 1 more", "line 7: a digest of 13 digits")
	shows("ubuntu.iso", "the digest of a list whose signature was verified", "/srv/downloads/images/ubuntu.iso")
	shows("readme.txt", "it proves the transport, not the server")
	// The sources change while one looks.
	f.mu.Lock()
	debian.Detail = &fakeDetail{Ranges: [][2]int64{{0, 1 << 30}}, Sources: []fakeSource{{URL: "https://other.example.com/", Conns: 2, Received: 5 << 20}}}
	f.mu.Unlock()
	p.wait(row(debian, "tbody") + ".textContent.includes('other.example.com') && " + row(debian, "tbody") + ".rows.length === 1")
	p.click(row(debian, ".name"))
	p.wait("!" + row(debian, ".detail"))
}

func testLost(t *testing.T, b *browser) {
	f := newFake()
	one := waiting("one")
	f.put(one)
	p := serve(t, b, f, 1200, 800)
	p.wantSection("queue", "one")
	f.setDown(true)
	p.wait("!document.getElementById('lost').hidden && document.getElementById('link').textContent.includes('Connection lost')")
	p.wait("document.getElementById('lost-when').textContent.startsWith('Next try in')")
	p.picture("lost.png")
	f.put(waiting("two"))
	p.click(row(one, ".toggle"))
	p.wait("document.getElementById('wrong').textContent === 'pawl does not answer'")
	f.setDown(false)
	p.click("document.getElementById('again')")
	p.wait("document.getElementById('lost').hidden && document.getElementById('link').textContent.includes('Connected')")
	p.wantSection("queue", "one two")
	// It also finds back by itself.
	f.setDown(true)
	p.wait("!document.getElementById('lost').hidden")
	f.setDown(false)
	p.wait("document.getElementById('lost').hidden")
	b.takeProblems() // of the network
}

func testLogin(t *testing.T, b *browser) {
	f := newFake()
	f.put(waiting("one"))
	f.locked = true
	p := serve(t, b, f, 1200, 800)
	p.wait("document.getElementById('login').innerText.includes('pawl daemon --open') && document.getElementById('app').hidden")
	p.picture("login.png")
	b.takeProblems() // status 401
}

func testHostile(t *testing.T, b *browser) {
	f := newFake()
	const markup = `<img src=x onerror="document.title='taken'">`
	evil := &fakeTask{State: "active", URL: "https://a.example/" + markup, Path: "/srv/downloads/photo\u202egpj" + markup + "\u0007.exe", Size: 1000, Held: 500, Reason: markup + "\u2066",
		Detail: &fakeDetail{Ranges: [][2]int64{{0, 500}}, Sources: []fakeSource{{URL: markup, Error: markup}}, Waiting: &fakePause{Why: markup}}}
	long := &fakeTask{State: "error", URL: "https://a.example/" + strings.Repeat("x", 3000), Path: "/srv/downloads/" + strings.Repeat("y", 250), Size: -1, Reason: strings.Repeat("z", 3000)}
	right := &fakeTask{State: "waiting", URL: "https://a.example/f", Name: "ملف 1.bin", Size: 5}
	odd := &fakeTask{State: "waiting", URL: "not a URL", Size: -1}
	script := &fakeTask{State: "complete", URL: "javascript:alert(1)", Size: 0}
	f.put(evil, long, right, odd, script)
	p := serve(t, b, f, 360, 800)
	for _, task := range []*fakeTask{evil, long, script} {
		p.click(row(task, ".name"))
		p.wait(row(task, ".detail") + "?.textContent.includes('" + task.ID + "')")
	}
	p.wait(row(evil, "tbody") + ".textContent.includes('put aside: <img')")
	if name := p.text(row(evil, ".name bdi") + ".textContent"); name != "photo\ufffdgpj"+strings.ReplaceAll(markup, "\u0007", "")+"\ufffd.exe" {
		t.Errorf("the name is shown as %q", name)
	}
	for _, no := range []string{"document.querySelector('img, a[href^=javascript], iframe')", "document.title.includes('taken')", `/[\u202a-\u202e\u2066-\u2069]/.test(document.body.innerText)`} {
		if p.text("!!("+no+")") != "false" {
			t.Errorf("%s", no)
		}
	}
	p.wantFits()
	p.click(row(evil, ".remove"))
	p.wait(dialog("sure", "li bdi") + ".textContent.includes('<img')")
	p.wantFits()
	p.press("Escape")
}

// wantFits checks that nothing is wider than the window.
func (p *tab) wantFits() {
	p.t.Helper()
	var wide []string
	p.eval(`[document.documentElement, ...document.querySelectorAll("dialog[open], body *:not(.away):not(.away *)")].filter(e => {
		const r = e.getBoundingClientRect();
		return e === document.documentElement ? e.scrollWidth > innerWidth : r.width > 0 && r.right > innerWidth + 1 && !e.closest("nav, .name, .sub");
	}).map(e => e.tagName + "." + e.className + " " + e.getBoundingClientRect().right)`, &wide)
	if len(wide) > 0 {
		p.t.Errorf("wider than the window: %q", wide)
	}
}

// testMany checks that progress of a few of 1,000 downloads changes nothing but their rows.
func testMany(t *testing.T, b *browser) {
	f := newFake()
	for i := range 1000 {
		task := waiting(fmt.Sprintf("file-%04d.bin", i))
		if i < 4 {
			task.State, task.Size, task.Path = "active", 1<<30, "/srv/downloads/"+task.URL[len("https://files.example.org/"):]
		}
		f.put(task)
	}
	p := serve(t, b, f, 1200, 800)
	p.wait("document.querySelectorAll('.task').length === 504 && document.getElementById('n-queue').textContent === '996'")
	p.eval(`window.changed = new Set(), window.frames = 0, new MutationObserver(all => {
		for (const m of all) {
			const li = (m.target.closest ? m.target : m.target.parentNode)?.closest(".task");
			if (li) changed.add(li.entry.t.id);
		}
	}).observe(document.body, {subtree: true, childList: true, attributes: true, characterData: true})`, nil)
	running := slices.Clone(f.unfinished[:4])
	for i := range 5 {
		for _, task := range running {
			task.Held, task.Rate, task.Conns = int64(i+1)<<20, int64(i+1)<<20, 4
		}
		f.progress(running...)
	}
	p.wait("document.getElementById('rate').textContent === '20.0 MiB/s'")
	p.wait(row(running[3], ".held") + ".textContent === '5.0 of 1024.0 MiB' || " + row(running[3], ".held") + ".textContent === '5.0 MiB of 1.0 GiB'")
	if n := p.text("changed.size"); n != "4" {
		t.Errorf("the progress of 4 downloads has changed %s rows", n)
	}
	// A move to the far end changes two rows and the numbers between, but no other row is put in again.
	p.click("document.querySelector('#s-queue .more')")
	p.wait("document.querySelectorAll('#s-queue .task').length === 996")
	p.write("document.getElementById('find')", "FILE-099")
	p.wait("document.querySelectorAll('#s-queue .task').length === 10 && document.getElementById('s-active').hidden")
	p.write("document.getElementById('find')", "nothing")
	p.wait("!document.getElementById('nomatch').hidden")
	p.write("document.getElementById('find')", "")
	p.wait("document.querySelectorAll('#s-queue .task').length === 996")
	p.eval(`window.added = 0, new MutationObserver(all => { for (const m of all) added += m.addedNodes.length; }).observe(document.querySelector("#s-queue ol"), {childList: true})`, nil)
	first := f.unfinished[4]
	p.eval(row(first, ".name")+".focus()", nil)
	p.press("Alt+End")
	f.waitFor(t, "it is the last one", func() bool { return f.unfinished[999] == first })
	p.wait("document.querySelector('#s-queue ol').lastElementChild.querySelector('.name bdi').textContent === 'file-0004.bin'")
	if n := p.text("added"); n != "1" {
		t.Errorf("the move of a row has put in %s rows", n)
	}
}

// testKeys checks that the Tab key passes by rows, that arrows reach all of them, and that the focus is visible.
func testKeys(t *testing.T, b *browser) {
	f := newFake()
	f.put(states()...)
	p := serve(t, b, f, 1200, 900)
	p.wait("document.querySelectorAll('.task').length === " + fmt.Sprint(len(states())))
	stops := map[string]bool{}
	for range 60 {
		p.press("Tab")
		var stop struct {
			Name    string
			Visible bool
		}
		p.eval(`(() => {
			const e = document.activeElement;
			if (e === document.body) return {Name: "", Visible: true};
			const s = getComputedStyle(e), li = e.closest(".task");
			return {Name: (li ? li.entry.t.id + " " : "") + (e.id || e.className || e.textContent), Visible: s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 2};
		})()`, &stop)
		if !stop.Visible {
			t.Errorf("the focus on %s cannot be seen", stop.Name)
		}
		if stops[stop.Name] {
			break
		}
		stops[stop.Name] = true
	}
	for _, id := range []string{"add", "find", "limit", "jobs", "pause-all", "resume-all", "retry-all", "clear"} {
		if !stops[id] {
			t.Errorf("the Tab key does not reach %s, but %v", id, stops)
		}
	}
	if n := len(stops); n > 35 {
		t.Errorf("the Tab key stops %d times", n)
	}
	p.eval("document.querySelector('.task .name').focus()", nil)
	var passed []string
	for range len(states()) {
		passed = append(passed, p.text("document.activeElement.closest('.task').entry.t.id"))
		p.press("ArrowDown")
	}
	slices.Sort(passed)
	if n := len(slices.Compact(passed)); n != len(states()) {
		t.Errorf("the arrow keys have passed %d rows of %d", n, len(states()))
	}
	p.press("Home")
	p.wait("document.activeElement === document.querySelector('.task .name')")
	p.press("Enter")
	p.wait("document.querySelector('.task .detail')")
	p.press("Enter")
	p.wait("!document.querySelector('.task .detail')")
}

// testAccessibility checks the names and roles that a screen reader gets.
func testAccessibility(t *testing.T, b *browser) {
	f := newFake()
	f.put(states()...)
	p := serve(t, b, f, 1200, 900)
	p.click("document.querySelector('#s-active .task .name')")
	p.wait("document.querySelector('.detail tbody tr')")
	nodes := p.tree()
	has := func(role, name string, properties ...string) {
		t.Helper()
		if !slices.ContainsFunc(nodes, func(n axNode) bool {
			for i := 0; i < len(properties); i += 2 {
				if n.properties[properties[i]] != properties[i+1] {
					return false
				}
			}
			return n.role == role && n.name == name
		}) {
			t.Errorf("no %s %q %v", role, name, properties)
		}
	}
	const iso = "debian-13.2.0-amd64-DVD-1.iso"
	has("heading", "Running")
	has("heading", "Waiting")
	has("region", "Failed")
	has("navigation", "Sections")
	has("link", "Failed 2")
	has("button", iso, "expanded", "true")
	has("button", "Pause: "+iso)
	has("button", "Remove: "+iso)
	has("button", "Try again: expired.bin")
	has("progressbar", iso)
	has("group", "Details: "+iso)
	has("image", "Pieces that are here: 42.3%")
	has("table", "Sources")
	has("columnheader", "Connections")
	has("searchbox", "Show only names and addresses that contain")
	has("textbox", "Limit")
	has("spinbutton", "At a time")
	has("status", "", "live", "polite")
	has("alert", "", "live", "assertive")
	for _, name := range []string{"add", "clear"} {
		p.click("document.getElementById('" + name + "')")
		p.wait("document.querySelector('dialog[open]')")
		p.eval("document.querySelectorAll('dialog[open] details').forEach(d => d.open = true)", nil)
		nodes = append(nodes, p.tree()...)
		p.press("Escape")
		p.wait("!document.querySelector('dialog[open]')")
	}
	has("dialog", "Add downloads", "modal", "true")
	has("alertdialog", "Clear the history?", "modal", "true")
	has("textbox", "Addresses, one on each line")
	has("radio", "mirrors of one file")
	has("textbox", "Checksum")
	for _, n := range nodes {
		switch n.role {
		case "button", "textbox", "searchbox", "spinbutton", "checkbox", "radio", "link", "image", "progressbar", "dialog", "alertdialog", "heading", "region", "table", "DisclosureTriangle":
			if n.name == "" {
				t.Errorf("a %s has no name: %v", n.role, n.properties)
			}
		}
	}
	// Progress is not announced.
	p.eval("window.spoken = 0, document.querySelectorAll('[role=status], [role=alert], [aria-live=polite]').forEach(e => new MutationObserver(() => spoken++).observe(e, {subtree: true, childList: true, characterData: true}))", nil)
	running := f.unfinished[0]
	for range 3 {
		running.Held += 1 << 20
		running.Rate = 7 << 20
		f.progress(running)
	}
	p.wait("document.getElementById('rate').textContent === '7.0 MiB/s'")
	if n := p.text("spoken"); n != "0" {
		t.Errorf("progress was announced %s times", n)
	}
}

// testMotion checks that nothing moves by itself for those who do not want it.
func testMotion(t *testing.T, b *browser) {
	f := newFake()
	f.put(states()...)
	p := serve(t, b, f, 1200, 900)
	const moving = "[...document.querySelectorAll('*')].filter(e => parseFloat(getComputedStyle(e).transitionDuration) > 0 || getComputedStyle(e).animationName !== 'none').length"
	p.prefer("prefers-reduced-motion", "no-preference")
	p.wait(moving + " > 0")
	p.prefer("prefers-reduced-motion", "reduce")
	p.wait(moving + " === 0")
}

// testWidths checks several widths for horizontal scrolling.
func testWidths(t *testing.T, b *browser) {
	f := newFake()
	f.put(states()...)
	f.status["held_up"] = "no space left on device: 12.0 MiB free, 1.0 GiB needed for debian-13.2.0-amd64-DVD-1.iso"
	p := serve(t, b, f, 360, 800)
	p.wait("document.querySelectorAll('.task').length > 0")
	p.eval("document.querySelectorAll('.task .name').forEach(n => n.click())", nil)
	p.wait("document.querySelector('.detail tbody tr')")
	for _, width := range []int{320, 360, 414, 600, 700, 820, 1024, 1600} {
		p.resize(width, 800)
		p.wantFits()
		for _, name := range []string{"add", "clear"} {
			p.eval("document.getElementById('"+name+"').click()", nil)
			p.eval("document.querySelectorAll('dialog[open] details').forEach(d => d.open = true)", nil)
			p.wantFits()
			p.eval("document.querySelector('dialog[open]').close()", nil)
		}
	}
}
