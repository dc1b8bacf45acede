package main

import (
	"regexp"
	"strings"

	"pawl/downloader/faultserver"
)

// framing are responses whose header or body is marked in a way that net/http refuses or misreads.
var framing = []hazard{
	oddHeader("Transfer-Encoding: identity", "\r\n\r\n", "\r\nTransfer-Encoding: identity\r\n\r\n"),
	oddHeader("identity without a length", `Content-Length: (\d+)`, "Transfer-Encoding: identity"),
	oddHeader("two equal lengths in one field", `Content-Length: (\d+)`, "Content-Length: $1, $1"),
	oddHeader("two equal lengths and identity", `Content-Length: (\d+)`, "Content-Length: $1\r\nTransfer-Encoding: identity\r\nContent-Length: $1,$1"),
	oddHeader("a length with a sign", `Content-Length: (\d+)`, "Content-Length: +$1"),
	oddHeader("an empty length", `Content-Length: (\d+)`, "Content-Length:"),
	oddHeader("a blank before each colon", `(?m)^([A-Za-z-]+):`, "$1 :"),
	oddHeader("lines that end with LF", "\r\n", "\n"),
	oddHeader("no reason phrase", `^(HTTP/1.1 \d+) [A-Za-z ]+`, "$1"),
	oddHeader("a line that is no field", "\r\n\r\n", "\r\nContent-Disposition attachment\r\n\r\n"),
	oddHeader("another name of HTTP", `^HTTP/1.1`, "ICY"),
	oddHeader("the version 2.0", `^HTTP/1.1`, "HTTP/2.0"),

	badFraming("two lengths", "the server sends", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
	badFraming("two lengths in one field", "the server sends an invalid Content-Length", "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello"),
	badFraming("a negative length", "the server sends an invalid Content-Length", "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello"),
	badFraming("a length in words", "the server sends an invalid Content-Length", "HTTP/1.1 200 OK\r\nContent-Length: 5 bytes\r\n\r\nhello"),
	badFraming("another transfer coding", "the server uses a transfer coding that is not chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),

	{name: "framing: another protocol at an http URL", run: func(tr *testRun) {
		for _, greeting := range []string{"220 ftp.example FTP server ready\r\n", "SSH-2.0-OpenSSH_9.2\r\n", "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x00\x40\x00"} {
			s := tr.serveBytes(greeting)
			o := tr.runPawl(s.url)
			o.wantFailure(7)
			o.wantError("the server sends something that is not HTTP")
			if n := s.conns.Load(); n > 6 {
				tr.Errorf("%q: %d connections, want three tries", greeting, n)
			}
		}
		tr.markMet()
	}},
	{name: "framing: chunks with HTTP/1.0", run: func(tr *testRun) {
		tr.wantHello("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
	}},
	{name: "framing: chunks twice", run: func(tr *testRun) {
		tr.wantHello("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
	}},
	{name: "framing: chunks and identity", run: func(tr *testRun) {
		tr.wantHello("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
	}},
	{name: "framing: chunks with extensions", run: func(tr *testRun) {
		tr.wantHello("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0005;a=\"b c\"; d\r\nhello\r\n0;e\r\nTrailer: x\r\n\r\n")
	}},
	{name: "framing: malformed chunks", run: func(tr *testRun) {
		for _, body := range []string{"5 bytes\r\nhello\r\n0\r\n\r\n", "5\r\nhello!\r\n0\r\n\r\n", "\r\nhello", "-5\r\nhello\r\n0\r\n\r\n", "fffffffffffffffff\r\nhello\r\n0\r\n\r\n"} {
			s := tr.serveBytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
			o := tr.runPawl("--restart", s.url)
			o.wantFailure(7)
			o.wantError("the server sends malformed chunks")
			if n := s.conns.Load(); n > 6 {
				tr.Errorf("%q: %d connections, want three tries", body, n)
			}
		}
		tr.markMet()
	}},
}

// oddHeader returns a hazard of a server whose headers are changed by a regular expression. The
// response to each range must be understood, over http and over https, alone and in a list.
func oddHeader(what, from, to string) hazard {
	return hazard{name: "framing: " + what, run: func(tr *testRun) {
		f := tr.serveFile(300 << 10)
		re := regexp.MustCompile(from)
		fault := faultserver.RawHeader(func(header string) string { return re.ReplaceAllString(header, to) })
		tr.srv.Set(fault)
		tr.runPawl("-d", "a", tr.fileURL()).wantDownloaded("a/f.bin", f)
		tr.writeList("list", tr.fileURL())
		tr.runPawl("mirror", "-d", "b", "list").wantDownloaded("b/f.bin", f)
		if n := len(tr.srv.Requests()); n > 40 {
			tr.Errorf("%d requests", n)
		}
		s := faultserver.NewTLS()
		tr.Cleanup(s.Close)
		s.Put("f.bin", f)
		s.Set(fault)
		tr.runPawl("-d", "c", "--insecure", s.URL+"/f.bin").wantDownloaded("c/f.bin", f)
	}}
}

// wantHello downloads a response whose body is "hello".
func (tr *testRun) wantHello(response string) {
	tr.Helper()
	s := tr.serveBytes(response)
	if o := tr.runPawl("-o", "-", s.url); o.code != 0 || o.stdout != "hello" {
		tr.Errorf("exit %d, got %q, want hello", o.code, o.stdout)
	}
	tr.markMet()
}

// badFraming returns a hazard of a response that must be refused at once, in words of ours.
func badFraming(what, text, response string) hazard {
	return hazard{name: "framing: " + what, run: func(tr *testRun) {
		s := tr.serveBytes(response)
		o := tr.runPawl(s.url)
		o.wantFailure(7)
		o.wantOneTry(s.conns.Load())
		o.wantError(text)
		if strings.Contains(o.stderr, "net/http") || strings.Contains(o.stderr, "given up") {
			tr.Errorf("got %s", o.stderr)
		}
		tr.markMet()
	}}
}
