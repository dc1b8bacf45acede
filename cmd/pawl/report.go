package main

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"time"

	"pawl/cmd/pawl/bytetext"
	"pawl/downloader/weburl"
)

// reportVersion is the "v" of a report. It must be increased when a key is removed or
// changes its meaning, because programs read reports. A new key leaves it as it is.
const reportVersion = 1

// A report writes the file of --report. It is one JSON object about a run:
//
//	{"v":1, "pawl":VERSION, "started":RFC3339, "lists":[…], "dir":…, "shard":"3/16", "run":…,
//	 "files":[
//	  {"path":…, "url":…, "final_url":…, "outcome":…, "size":…, "fetched":…, "seconds":…, "retries":…, "rounds":…,
//	   "sum":"sha256:…", "proof":…, "crc32c":…, "page":true, "complete":"unknown", "list":…, "line":…, "error":…, "exit":…},
//	  …],
//	 "problems":[{"list":…, "line":…, "error":…}, …],
//	 "summary":{"files":…, "fetched":…, "current":…, "unchanged":…, "failed":…, "pending":…, "pruned":…, "problems":…, "more":true,
//	            "bytes":…, "seconds":…, "exit":…},
//	 "ended":RFC3339}
//
// In an entry of a file, a key is missing if its value is empty, zero or unknown; only a
// size of 0 is written. In the summary, only "pruned" and "more" may be missing. URLs are
// complete except for user and password. Each entry is one line, in the order in which the
// files ended. Bytes that are not UTF-8 are escaped; see escaped.
//
// Files and problems are written as they come, so a report needs no memory, however long
// it is. The problems go to a second temporary file first, because they follow the last
// file. FILE itself is replaced at the end; see atomicFile.
//
// It is safe for concurrent use. Either close or abort must be called in the end. All
// methods do nothing if the receiver is nil.
type report struct {
	mu       sync.Mutex   // guards all fields
	out      *atomicFile  // the report
	problems *atomicFile  // the elements of "problems"; nil until there is one
	files    int          // number of files written
	buf      bytes.Buffer // the last result of encode
	err      error        // the first error; close returns it
}

// A reportHeader is the beginning of a report.
type reportHeader struct {
	V       int       `json:"v"` // set by newReport
	Pawl    string    `json:"pawl"`
	Started time.Time `json:"started"`
	Lists   []string  `json:"lists,omitempty"`
	Dir     string    `json:"dir,omitempty"`
	Shard   string    `json:"shard,omitempty"` // the part of the lists, such as "3/16"
	Run     string    `json:"run,omitempty"`   // the same key in the reports of all shards of a run
}

// A reportOutcome is the "outcome" of a file. The values are an interface for programs that
// read reports.
type reportOutcome string

const (
	outcomeFetched   reportOutcome = "fetched"   // downloaded by this run
	outcomeCurrent   reportOutcome = "current"   // complete before this run; no request was sent
	outcomeUnchanged reportOutcome = "unchanged" // complete before this run; the server confirmed it
	outcomeFailed    reportOutcome = "failed"    // Error is the reason
	outcomeWanted    reportOutcome = "wanted"    // would be downloaded without --dry-run
	outcomePending   reportOutcome = "pending"   // the run ended before its first or next try
	outcomePruned    reportOutcome = "pruned"    // deleted, because the lists no longer name it
)

// A knownSize is a number of bytes. It is left out of JSON if it is unknown (-1), but not if
// it is 0.
type knownSize int64

// IsZero implements the omitzero option of encoding/json.
func (s knownSize) IsZero() bool { return s < 0 }

// A reportFile is the entry of a file in a report.
type reportFile struct {
	Path     string        `json:"path,omitempty"`
	URL      string        `json:"url,omitempty"` // the requested URL
	FinalURL string        `json:"final_url,omitempty"`
	Outcome  reportOutcome `json:"outcome"`
	Size     knownSize     `json:"size,omitzero"`     // bytes; -1 if unknown
	Fetched  int64         `json:"fetched,omitempty"` // bytes received by this run
	Seconds  float64       `json:"seconds,omitempty"`
	Retries  int           `json:"retries,omitempty"`
	Rounds   int           `json:"rounds,omitempty"`   // number of rounds that tried the file
	Sum      string        `json:"sum,omitempty"`      // ALGO:HEX
	CRC32C   string        `json:"crc32c,omitempty"`   // hex
	Proof    string        `json:"proof,omitempty"`    // a downloader.Proof
	Page     bool          `json:"page,omitempty"`     // a web page, although neither its name nor its URL says so
	Complete string        `json:"complete,omitempty"` // "unknown" if the server did not mark the end of the file, else empty
	List     string        `json:"list,omitempty"`
	Line     int           `json:"line,omitempty"`
	Error    string        `json:"error,omitempty"`
	Exit     int           `json:"exit,omitempty"` // exit code of Error alone
}

// A reportProblem is the entry of an unusable line, or of an unreadable list.
type reportProblem struct {
	List  string `json:"list,omitempty"`
	Line  int    `json:"line,omitempty"`
	Error string `json:"error"`
}

// newReport begins the report at path. It fails at once if the file cannot be written.
func newReport(path string, h reportHeader) (*report, error) {
	out, err := newAtomicFile(path)
	if err != nil {
		return nil, err
	}
	r := &report{out: out}
	h.V, h.Dir, h.Lists = reportVersion, bytetext.Escape(h.Dir), slices.Clone(h.Lists)
	for i, list := range h.Lists {
		h.Lists[i] = listForJSON(list)
	}
	// The header is an object of its own; without its closing brace, the other keys can follow.
	out.Write(bytes.TrimSuffix(r.encode(h), []byte("}")))
	out.Write([]byte(",\n\"files\":["))
	return r, nil
}

// listForJSON returns the name of a list for JSON. A URL loses its user and password.
func listForJSON(name string) string {
	if strings.Contains(name, "://") {
		name = weburl.WithoutUser(name)
	}
	return bytetext.Escape(name)
}

// encode returns v as JSON. The result is valid until the next call. The caller must hold
// mu, unless no other goroutine knows r yet.
func (r *report) encode(v any) []byte {
	r.buf.Reset()
	if err := newJSONEncoder(&r.buf).Encode(v); err != nil && r.err == nil {
		r.err = &outputError{r.out.path, err}
	}
	return bytes.TrimSuffix(r.buf.Bytes(), []byte("\n"))
}

// writeElement writes v to out as an element of an array. first reports whether it is the
// first element. The caller must hold mu.
func (r *report) writeElement(out *atomicFile, v any, first bool) {
	separator := ",\n"
	if first {
		separator = "\n"
	}
	if text := r.encode(v); len(text) > 0 { // empty after an error, so that no comma is left over
		out.Write([]byte(separator))
		out.Write(text)
	}
}

// forJSON returns f with escaped texts, and without user and password in its URLs.
func (f reportFile) forJSON() reportFile {
	f.List = listForJSON(f.List)
	f.URL, f.FinalURL = bytetext.Escape(weburl.WithoutUser(f.URL)), bytetext.Escape(weburl.WithoutUser(f.FinalURL))
	f.Path, f.Error = bytetext.Escape(f.Path), bytetext.Escape(f.Error)
	return f
}

// forJSON returns p with escaped texts, and without user and password in its URL.
func (p reportProblem) forJSON() reportProblem {
	p.List, p.Error = listForJSON(p.List), bytetext.Escape(p.Error)
	return p
}

// addFile adds the entry of a file. close returns the error if that fails.
func (r *report) addFile(f reportFile) {
	if r == nil {
		return
	}
	r.appendFile(f.forJSON())
}

// appendFile adds an element to "files": a reportFile for JSON, or the JSON of another report.
func (r *report) appendFile(v any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writeElement(r.out, v, r.files == 0)
	r.files++
}

// addProblem adds a problem. close returns the error if that fails.
func (r *report) addProblem(p reportProblem) {
	if r == nil {
		return
	}
	r.appendProblem(p.forJSON())
}

// appendProblem adds an element to "problems": a reportProblem for JSON, or the JSON of another
// report.
func (r *report) appendProblem(v any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	first := r.problems == nil
	if first && r.err == nil {
		r.problems, r.err = newAtomicFile(r.out.path)
	}
	if r.problems != nil {
		r.writeElement(r.problems, v, first)
	}
}

// close ends the report with the summary and puts it in its place. If it returns an error,
// the old file is unchanged. It must be called at most once, after the last file and
// problem.
func (r *report) close(s summary) error {
	if r == nil {
		return nil
	}
	return r.closeAt(s, time.Now())
}

// closeAt is close for a run that ended at another time.
func (r *report) closeAt(s summary, ended time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.out.abort()
	r.out.Write([]byte("],\n\"problems\":["))
	if err := r.problems.copyTo(r.out); err != nil && r.err == nil {
		r.err = &outputError{r.out.path, err}
	}
	r.out.Write([]byte("],\n\"summary\":"))
	r.out.Write(r.encode(s))
	r.out.Write([]byte(",\n\"ended\":"))
	r.out.Write(r.encode(ended))
	r.out.Write([]byte("}\n"))
	if r.err != nil {
		return r.err
	}
	return r.out.commit()
}

// abort discards the report and leaves the old file unchanged. It does nothing after close.
func (r *report) abort() {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.problems.abort()
	r.out.abort()
}
