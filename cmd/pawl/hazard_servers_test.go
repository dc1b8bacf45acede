package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"pawl/downloader/faultserver"
)

// servers are servers that are in order, and yet not what a client expects: machines that disagree
// about validators, files that grow, bans, and what servers demand of a request.
var servers = []hazard{
	disagreeing("an ETag that stays and a Last-Modified that moves", true, func(n int, h http.Header) {
		h.Set("Last-Modified", dayAfter(n))
	}),
	disagreeing("two machines with different ETags", false, func(n int, h http.Header) {
		h.Set("ETag", []string{`"a"`, `"b"`}[n%2])
	}),
	disagreeing("two machines with different ETags and Last-Modified", false, func(n int, h http.Header) {
		h.Set("ETag", []string{`"a"`, `"b"`}[n%2])
		h.Set("Last-Modified", dayAfter(n%2))
	}),
	disagreeing("two machines with different Last-Modified", false, func(n int, h http.Header) {
		h.Del("ETag")
		h.Set("Last-Modified", dayAfter(n%2))
	}),
	disagreeing("a new ETag in each response", false, func(n int, h http.Header) {
		h.Set("ETag", fmt.Sprintf(`"%d"`, n))
	}),
	disagreeing("a weak ETag and a Last-Modified that moves", false, func(n int, h http.Header) {
		h.Set("ETag", `W/"a"`)
		h.Set("Last-Modified", dayAfter(n))
	}),
	disagreeing("every second response without Last-Modified", false, func(n int, h http.Header) {
		h.Del("ETag")
		if n%2 == 1 {
			h.Del("Last-Modified")
		}
	}),
	refusingConditions(400),
	refusingConditions(403),
	refusingConditions(412),
	refusingConditions(500),
	{name: "servers: every second machine has a finished file in an old version", run: func(tr *testRun) {
		f := tr.serveFile(1 << 20)
		tr.runPawl().wantDownloaded("f.bin", f)
		old := faultserver.NewFile(1<<19, 77)
		old.Modified = f.Modified.Add(-time.Hour)
		var count atomic.Int64
		tr.srv.Set(handling(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if count.Add(1)%2 == 1 {
				tr.srv.Put("f.bin", old)
				defer tr.srv.Put("f.bin", f)
			}
			next.ServeHTTP(w, r)
		}))
		sent := tr.srv.Sent()
		for range 3 {
			tr.runPawl().wantDownloaded("f.bin", f)
		}
		if again := tr.srv.Sent() - sent; again > 1<<18 {
			tr.Errorf("%d bytes were sent again", again)
		}
		tr.markMet()
	}},
	{name: "servers: a finished file that really changes", run: func(tr *testRun) {
		f := tr.serveFile(1 << 20)
		tr.runPawl().wantDownloaded("f.bin", f)
		for seed := range uint64(2) {
			g := tr.putFile("f.bin", faultserver.NewFile(1<<20, 100+seed))
			g.Modified = f.Modified // the first time, only the ETag shows it
			if seed == 0 {
				tr.putFile("f.bin", g)
			}
			tr.runPawl().wantDownloaded("f.bin", g)
		}
		tr.markMet()
	}},
	{name: "servers: different ETags, and the wanted digest is here", run: func(tr *testRun) {
		f := tr.serveFile(1 << 20)
		sum := "--checksum=sha256:" + digestOfFile(f)
		for range 2 {
			tr.srv.Set(headerByRequest(func(n int, h http.Header) { h.Set("ETag", fmt.Sprintf(`"%d"`, n)) }))
			tr.runPawl(sum, tr.fileURL()).wantDownloaded("f.bin", f)
			tr.markMet()
		}
		before := len(tr.srv.Requests())
		tr.runPawl(sum, tr.fileURL()).wantDownloaded("f.bin", f)
		if n := len(tr.srv.Requests()); n != before {
			tr.Errorf("%d requests for a file with the wanted digest", n-before)
		}
	}},
	{name: "servers: a growing file", run: func(tr *testRun) { growing(tr, nil) }},
	{name: "servers: a growing file without ETags", run: func(tr *testRun) { growing(tr, nil, dropETag) }},
	{name: "servers: a growing file, and a broken connection", run: func(tr *testRun) {
		growing(tr, nil, faultserver.Only(func(n int) bool { return n%3 == 2 }, faultserver.Cut(2<<20)))
	}},
	{name: "servers: a growing file and a kill", run: func(tr *testRun) {
		growing(tr, func() { tr.killOnceSent(tr.srv, 4<<20) })
	}},
	{name: "servers: a ban for too many connections", run: func(tr *testRun) {
		b := &faultserver.Ban{Limit: 4, Time: time.Second}
		f, g := tr.serveFile(8<<20), tr.putFile("g.bin", faultserver.NewFile(8<<20, 3))
		tr.srv.Set(b.Fault, faultserver.ConnRate(2<<20))
		tr.runPawl().wantDownloaded("f.bin", f)
		bans := b.Count()
		if bans < 1 || bans > 2 {
			tr.Errorf("%d bans, want one or two", bans)
		}
		tr.runPawl(tr.srv.URL+"/g.bin").wantDownloaded("g.bin", g)
		if n := b.Count() - bans; n > 0 {
			tr.Errorf("%d bans in the next run, which must remember the limit", n)
		}
	}},
	{name: "servers: a ban for too many connections, in a list", run: func(tr *testRun) {
		b := &faultserver.Ban{Limit: 4, Time: 300 * time.Millisecond}
		var list strings.Builder
		f := tr.serveFile(100_000)
		for i := range 40 {
			tr.putFile(fmt.Sprintf("n%d", i), f)
			fmt.Fprintf(&list, "%s/n%d\n", tr.srv.URL, i)
		}
		tr.srv.Set(b.Fault, faultserver.ConnRate(1<<20))
		tr.runPawl("mirror", tr.writeURLList(list.String()), "-d", ".", "--retry-wait", "300ms").wantExit(0)
		if n := b.Count(); n < 1 || n > 4 {
			tr.Errorf("%d bans, want one to four", n)
		}
	}},
	banned(403),
	banned(404),
	refusingFurther(400),
	refusingFurther(405),
	refusingFurther(412),
	refusingFurther(416),
	refusingFurther(451),
	refusingFurther(501),
	refusingFurther(508),
	refusingSome("If-Range with 412", 412, func(r *http.Request) bool { return r.Header.Get("If-Range") != "" }),
	refusingSome("If-Range with 501", 501, func(r *http.Request) bool { return r.Header.Get("If-Range") != "" }),
	refusingSome("closed ranges with 400", 400, isClosedRange),
	refusingSome("closed ranges with 409", 409, isClosedRange),
	redirected("a blank and a letter beyond ASCII in Location", "/get?name=My File.bin", "/get?name=My%20File.bin", "get"),
	redirected("a path with blanks and braces in Location", "/My {File} ä.bin", "/My%20%7BFile%7D%20%C3%A4.bin", "My {File} ä.bin"),
	redirected("a relative Location with a backslash", `d\f x.bin`, "/d/f%20x.bin", "f x.bin"),
	redirected("a percent sign that begins no escape in Location", "/100%.bin", "/100%25.bin", "100%.bin"),
	typed("braces in a query", "/f.bin?sourcedoc={1F2A-3B}", "/f.bin?sourcedoc={1F2A-3B}", "f.bin"),
	typed("brackets in a query", `/f.bin?a[]=1&b=[x]`, `/f.bin?a[]=1&b=[x]`, "f.bin"),
	typed("blanks within a URL", "/My File.bin?q=a b", "/My%20File.bin?q=a%20b", "My File.bin"),
	{name: "servers: blanks and angle brackets around a pasted URL", run: func(tr *testRun) {
		f := tr.serveFile(1000)
		for _, wrap := range []string{" %s", "%s \n", "<%s>", `"%s"`} {
			tr.runPawl(fmt.Sprintf(wrap, tr.fileURL())).wantDownloaded("f.bin", f)
		}
		tr.markMet()
	}},
	{name: "servers: a typed password with special characters", run: func(tr *testRun) {
		f := tr.serveFile(1000)
		tr.srv.Set(handling(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if _, password, _ := r.BasicAuth(); password != "p%ssä|^{}" {
				http.Error(w, "no", http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		}))
		u := strings.Replace(tr.fileURL(), "http://", "http://user:p%ssä|^{}@", 1)
		tr.runPawl(u).wantDownloaded("f.bin", f)
		tr.runPawl(u).wantDownloaded("f.bin", f)
		tr.runPawl("mirror", "-d", "m", tr.writeURLList(u+"\n")).wantExit(0)
		tr.markMet()
	}},
	demanding("a server that demands Accept", "Accept", "*/*"),
	demanding("a server that demands the user's Accept", "Accept", "application/zip", "-H", "Accept: application/zip"),
	{name: "servers: a Referer that another host demands", run: func(tr *testRun) {
		f := tr.serveFile(1000)
		site := tr.newServer(f)
		site.Set(faultserver.Redirect("/f.bin", tr.fileURL()))
		tr.runPawl("--referer", "http://site.example/page", "-H", "X-Token: t", site.URL+"/f.bin").wantDownloaded("f.bin", f)
		tr.wantHeader(tr.srv, "Referer", "http://site.example/page")
		tr.wantHeader(tr.srv, "X-Token", "")
		tr.markMetBy(site)
	}},
	{name: "servers: a Referer that another host demands of each connection", run: func(tr *testRun) {
		f := tr.serveFile(9 << 20)
		site := tr.newServer(f)
		site.Set(faultserver.Redirect("/f.bin", tr.fileURL()))
		var refused atomic.Int64
		tr.srv.Set(handling(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Header.Get("Referer") != "http://site.example/page" || r.Header.Get("X-Token") != "" {
				refused.Add(1)
				http.Error(w, "no", http.StatusForbidden)
				return
			}
			next.ServeHTTP(w, r)
		}), faultserver.ConnRate(8<<20))
		for _, args := range [][]string{{"--referer", "http://site.example/page"}, {"-H", "Referer: http://site.example/page"}} {
			tr.runPawl(append(args, "-H", "X-Token: t", "--restart", site.URL+"/f.bin")...).wantDownloaded("f.bin", f)
		}
		if refused.Load() > 0 || len(tr.srv.Requests()) < 4 {
			tr.Errorf("%d of %d requests were refused", refused.Load(), len(tr.srv.Requests()))
		}
		tr.markMetBy(site)
	}},
	{name: "servers: a redirect to itself that sets a cookie", run: func(tr *testRun) {
		f := tr.serveFile(9 << 20)
		tr.srv.Set(demandCookie("/f.bin", func(w http.ResponseWriter, r *http.Request) {
			http.SetCookie(w, &http.Cookie{Name: "seen", Value: "yes"})
			http.Redirect(w, r, "/f.bin", http.StatusFound)
		}))
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.markMet()
	}},
	{name: "servers: a redirect to itself that sets a cookie of JSON", run: func(tr *testRun) {
		f := tr.serveFile(1000)
		const value = `j={"a": 1, "b":[\]}`
		tr.srv.Set(handling(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Header.Get("Cookie") != value {
				w.Header().Set("Set-Cookie", value+"; Path=/")
				http.Redirect(w, r, "/f.bin", http.StatusFound)
				return
			}
			next.ServeHTTP(w, r)
		}))
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.markMet()
	}},
	{name: "servers: a gate on another host that sets a cookie", run: func(tr *testRun) {
		f := tr.serveFile(1000)
		gate := faultserver.New()
		tr.Cleanup(gate.Close)
		tr.srv.Set(demandCookie("/f.bin", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, gate.URL+"/gate", http.StatusFound)
		}))
		gate.Set(handling(func(w http.ResponseWriter, r *http.Request, _ http.Handler) { // the same address, so the same cookies
			http.SetCookie(w, &http.Cookie{Name: "seen", Value: "yes", Path: "/"})
			http.Redirect(w, r, tr.fileURL(), http.StatusFound)
		}))
		tr.runPawl(tr.fileURL()).wantDownloaded("f.bin", f)
		tr.markMet()
	}},
	postponing("403 with Retry-After", 403),
	postponing("409 with Retry-After", 409),
	postponing("525", 525),
	postponing("507", 507),
	postponing("509", 509),
	postponing("529", 529),
	{name: "servers: an archive that is being made", run: func(tr *testRun) {
		f := tr.serveFile(1 << 20)
		tr.srv.Set(faultserver.First(1, faultserver.Status(202, 0)))
		o := tr.runPawl("--tries", "1", tr.fileURL())
		o.wantDownloaded("f.bin", f)
		o.wantStderrAny("still preparing the file")
	}},
	preparing("by redirects to the same URL", 303, "/f.bin"),
	preparing("by redirects between two URLs", 302, "/wait"),
	preparing("by responses without a body", 204, ""),
	{name: "servers: an archive that is being made, without a time", run: func(tr *testRun) {
		f := tr.serveFile(1 << 20)
		tr.srv.Set(faultserver.First(5, faultserver.Status(202, -1)))
		tr.runPawl("--tries", "2", tr.fileURL()).wantDownloaded("f.bin", f)
		tr.srv.Set(faultserver.Only(func(n int) bool { return n%2 == 0 }, faultserver.Status(202, -1)), dropETag)
		g := tr.putFile("g.bin", faultserver.NewFile(1<<20, 3))
		tr.runPawl("--tries", "2", tr.srv.URL+"/g.bin").wantDownloaded("g.bin", g)
	}},
	sendingPage("as XHTML", "application/xhtml+xml", "<html><p>Log in</p>"),
	sendingPage("with a doubled type", "text/html, text/html", "Log in"),
	sendingPage("without a type", "", "\n<!doctype html><p>Log in</p>"),
	{name: "servers: Retry-After of a day", run: func(tr *testRun) {
		f := tr.serveFile(1000)
		for _, status := range []int{503, 429, 403} {
			tr.srv.Set(faultserver.First(2, faultserver.Status(status, 86400)))
			o := tr.runPawl("-v", "--restart", tr.fileURL())
			o.wantDownloaded("f.bin", f)
			o.wantStderrAny("the server asks to wait 24 hours; retrying in 0.")
		}
	}},
	{name: "servers: 404 with Retry-After", run: func(tr *testRun) {
		tr.serveFile(1000)
		tr.srv.Set(faultserver.Status(404, 1))
		tr.runPawl().wantFailure(8)
		tr.wantAtMostOneRequest(len(tr.srv.Requests()) - 1) // one with a range and one without
	}},
}

// banned returns a hazard of a server that tells a ban for too many connections by a status.
func banned(status int) hazard {
	return hazard{name: fmt.Sprintf("servers: a ban told by %d", status), run: func(tr *testRun) {
		b := &faultserver.Ban{Limit: 3, Time: time.Second, Status: status}
		f := tr.serveFile(8 << 20)
		tr.srv.Set(b.Fault, faultserver.ConnRate(2<<20))
		tr.runPawl("--retry-wait", "100ms", "--retry-max-wait", "400ms", tr.fileURL()).wantDownloaded("f.bin", f)
		if b.Count() > 3 {
			tr.Errorf("%d bans, want at most three", b.Count())
		}
	}}
}

// refusingFurther returns a hazard of a server that serves the first request only, while its body
// goes on.
func refusingFurther(status int) hazard {
	return hazard{name: fmt.Sprintf("servers: each further request is refused with %d", status), run: func(tr *testRun) {
		f := tr.serveFile(8 << 20)
		tr.srv.Set(faultserver.SingleUse(status), faultserver.ConnRate(6<<20))
		tr.runPawl().wantDownloaded("f.bin", f)
	}}
}

// refusingSome returns a hazard of a server that refuses some requests for ranges, and breaks off all
// bodies once.
func refusingSome(what string, status int, refuses func(*http.Request) bool) hazard {
	return hazard{name: "servers: a server that refuses " + what, run: func(tr *testRun) {
		f := tr.serveFile(8 << 20)
		refusal := handling(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if refuses(r) {
				faultserver.Status(status, -1)(next).ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
		tr.srv.Set(refusal, faultserver.First(1, faultserver.Cut(2<<20)), faultserver.ConnRate(6<<20))
		tr.runPawl().wantDownloaded("f.bin", f)
		g := tr.putFile("g.bin", faultserver.NewFile(8<<20, 5))
		tr.killHalfway(tr.srv.URL + "/g.bin")
		tr.srv.Set(refusal)
		tr.runPawl(tr.srv.URL+"/g.bin").wantDownloaded("g.bin", g)
	}}
}

// isClosedRange reports whether a request is for a range with an end.
func isClosedRange(r *http.Request) bool {
	value := r.Header.Get("Range")
	return value != "" && !strings.HasSuffix(value, "-")
}

// sendingPage returns a hazard of a web page instead of the file: pawl must warn, and refuse it if the
// user expects none.
func sendingPage(how, media, page string) hazard {
	return hazard{name: "servers: a web page " + how, run: func(tr *testRun) {
		tr.srv.Set(handling(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			w.Header()["Content-Type"] = nil
			if media != "" {
				w.Header().Set("Content-Type", media)
			}
			io.WriteString(w, page)
		}))
		tr.runPawl("--expect", "!text/html", tr.fileURL()).wantFailure(7)
		o := tr.runPawl()
		o.wantExit(0)
		o.wantStderrAny("web page")
		tr.markMet()
	}}
}

// preparing returns a hazard of a server that says in another way than by 202 that the file comes
// later.
func preparing(how string, status int, location string) hazard {
	return hazard{name: "servers: an archive that is being made, told " + how, run: func(tr *testRun) {
		f := tr.serveFile(1 << 20)
		refused := 1
		if location != "" && location != "/f.bin" { // it redirects back
			refused = 2
		}
		tr.srv.Set(faultserver.First(refused, handling(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			if location != "" && r.URL.Path == "/f.bin" {
				w.Header().Set("Location", location)
			} else if location != "" {
				w.Header().Set("Location", "/f.bin")
			}
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(status)
		})))
		o := tr.runPawl("--tries", "1", tr.fileURL())
		o.wantDownloaded("f.bin", f)
		o.wantStderrAny("still preparing the file")
		tr.markMet()
	}}
}

// refusingConditions returns a hazard of a firewall that refuses conditional requests.
func refusingConditions(status int) hazard {
	return hazard{name: fmt.Sprintf("servers: a firewall that refuses conditions with %d", status), run: func(tr *testRun) {
		f := tr.serveFile(1 << 20)
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.srv.Set(handling(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Header.Get("If-None-Match")+r.Header.Get("If-Modified-Since") != "" {
				faultserver.Status(status, -1)(next).ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		}))
		before := len(tr.srv.Requests())
		tr.runPawl().wantDownloaded("f.bin", f)
		if n := len(tr.srv.Requests()) - before; n > 2 {
			tr.Errorf("%d requests, want one with and one without the condition", n)
		}
	}}
}

// handling returns a fault that calls h for each request.
func handling(h func(w http.ResponseWriter, r *http.Request, next http.Handler)) faultserver.Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h(w, r, next) })
	}
}

// headerByRequest edits the header of each response; n counts them from 0. Conditions of requests
// are ignored, because the server would compare them with the header before.
func headerByRequest(edit func(n int, h http.Header)) faultserver.Fault {
	var count atomic.Int64
	return handling(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		n := int(count.Add(1) - 1)
		for _, name := range []string{"If-None-Match", "If-Modified-Since"} {
			r.Header.Del(name)
		}
		if r.Header.Get("If-Range") != "" { // the tag of this response decides
			h := make(http.Header)
			edit(n, h)
			if tag := h.Get("ETag"); tag != "" && tag != r.Header.Get("If-Range") {
				r.Header.Del("Range")
			}
			r.Header.Del("If-Range")
		}
		next.ServeHTTP(headerEditor{w, func(h http.Header) { edit(n, h) }}, r)
	})
}

// A headerEditor edits a header before it is sent.
type headerEditor struct {
	http.ResponseWriter
	edit func(http.Header)
}

func (e headerEditor) Unwrap() http.ResponseWriter { return e.ResponseWriter }

func (e headerEditor) WriteHeader(status int) {
	e.edit(e.Header())
	e.ResponseWriter.WriteHeader(status)
}

var dropETag = headerByRequest(func(_ int, h http.Header) { h.Del("ETag") })

// dayAfter returns a Last-Modified of n days after a day.
func dayAfter(n int) string {
	return time.Date(2024, 3, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, n).Format(http.TimeFormat)
}

// disagreeing returns a hazard of responses whose validators differ although the file does not. pawl
// must download the file once, and the finished file must stay in later runs. If resumes is set, a
// kill must cost nothing either.
func disagreeing(what string, resumes bool, edit func(n int, h http.Header)) hazard {
	return hazard{name: "servers: " + what, run: func(tr *testRun) {
		f := tr.serveFile(9 << 20)
		tr.srv.Set(headerByRequest(edit))
		if resumes {
			tr.killHalfwayUnder(headerByRequest(edit))
			tr.srv.Set(headerByRequest(edit))
			tr.runPawl().wantDownloaded("f.bin", f)
			tr.wantSentRatio(1.45)
		} else {
			tr.runPawl().wantDownloaded("f.bin", f)
		}
		sent := tr.srv.Sent()
		for range 4 {
			tr.runPawl().wantDownloaded("f.bin", f)
		}
		if again := tr.srv.Sent() - sent; again > 1<<20 {
			tr.Errorf("%d bytes were sent again for a finished file", again)
		}
		tr.markMet()
	}}
}

// growing downloads a file that is longer in each response, after the steps before, if there are
// any. pawl must store it as it was at one moment.
func growing(tr *testRun, before func(), faults ...faultserver.Fault) {
	f := tr.serveFile(9 << 20)
	var count atomic.Int64
	version := func(n int64) faultserver.File {
		g := faultserver.NewFile(f.Size+n*20_000, f.Seed)
		g.Modified = f.Modified.Add(time.Duration(n) * time.Second)
		return g
	}
	grow := handling(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		tr.srv.Put("f.bin", version(count.Add(1)-1))
		next.ServeHTTP(w, r)
	})
	faults = append(faults, grow, faultserver.ConnRate(16<<20))
	tr.srv.Set(faults...)
	if before != nil {
		before()
		tr.srv.Set(faults...)
	}
	o := tr.runPawl()
	o.wantExit(0)
	o.wantStderrAny("growing", "starting over")
	for n := range count.Load() { // the file must be one of them
		tr.putFile("f.bin", version(n))
	}
	tr.markMet()
}

// redirected returns a hazard of a redirect to a target that is not escaped. The server must get
// the path escaped as browsers do it.
func redirected(what, location, requested, name string) hazard {
	return hazard{name: "servers: " + what, run: func(tr *testRun) {
		f := tr.serveFile(1000)
		tr.srv.Set(handling(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			switch r.RequestURI {
			case "/start":
				w.Header().Set("Location", location)
				w.WriteHeader(http.StatusFound)
			case requested:
				r.URL.Path = "/f.bin"
				next.ServeHTTP(w, r)
			default:
				http.Error(w, r.RequestURI, http.StatusBadRequest)
			}
		}))
		o := tr.runPawl(tr.srv.URL + "/start")
		o.wantExit(0)
		o.tr.wantFile("start", f)
		tr.markMet()
	}}
}

// typed returns a hazard of a URL as people type it.
func typed(what, path, requested, name string) hazard {
	return hazard{name: "servers: " + what, run: func(tr *testRun) {
		f := tr.serveFile(1000)
		tr.srv.Set(handling(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.RequestURI != requested {
				http.Error(w, r.RequestURI, http.StatusBadRequest)
				return
			}
			r.URL.Path = "/f.bin"
			next.ServeHTTP(w, r)
		}))
		tr.runPawl(tr.srv.URL+path).wantDownloaded(name, f)
		tr.markMet()
	}}
}

// demanding returns a hazard of a server that refuses requests without a header field.
func demanding(what, name, value string, args ...string) hazard {
	return hazard{name: "servers: " + what, run: func(tr *testRun) {
		f := tr.serveFile(1000)
		tr.srv.Set(handling(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Header.Get(name) != value {
				http.Error(w, "no", http.StatusForbidden)
				return
			}
			next.ServeHTTP(w, r)
		}))
		tr.runPawl(append(args, tr.fileURL())...).wantDownloaded("f.bin", f)
		tr.markMet()
	}}
}

// demandCookie serves a path only to requests with the cookie seen=yes. It calls deny for others.
func demandCookie(path string, deny http.HandlerFunc) faultserver.Fault {
	return handling(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if c, err := r.Cookie("seen"); r.URL.Path == path && (err != nil || c.Value != "yes") {
			deny(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// postponing returns a hazard of a server that refuses the first three requests for now.
func postponing(what string, status int) hazard {
	return hazard{name: "servers: " + what, run: func(tr *testRun) {
		f := tr.serveFile(1000)
		tr.srv.Set(faultserver.First(3, faultserver.Status(status, 0)))
		tr.runPawl().wantDownloaded("f.bin", f)
	}}
}
