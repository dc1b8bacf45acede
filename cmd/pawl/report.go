package main

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"pawl/downloader"
)

// reportVersion is the "v" of a report. It grows when something that was there
// goes away or means something else; what is only added leaves it.
const reportVersion = 1

// A report is the file that --report names, one JSON object of a run:
//
//	{"v":1, "pawl":VERSION, "started":RFC3339, "lists":[…], "dir":…,
//	 "files":[
//	  {"path":…, "url":…, "final_url":…, "outcome":…, "size":…, "fetched":…, "seconds":…, "retries":…, "rounds":…,
//	   "sum":"sha256:…", "crc32c":…, "complete":"unknown", "list":…, "line":…, "error":…, "exit":…},
//	  …],
//	 "problems":[{"list":…, "line":…, "error":…}, …],
//	 "summary":{"files":…, "fetched":…, "current":…, "unchanged":…, "failed":…, "pending":…, "pruned":…, "problems":…, "more":true,
//	            "bytes":…, "seconds":…, "exit":…},
//	 "ended":RFC3339}
//
// A field of an entry that is empty, zero or unknown is left out, but for a size
// of 0; those of the summary are all there, but for "pruned" and "more". URLs are without
// user and password, and else in full. Each entry has a line of its own, and they come in the order
// in which the files ended. Bytes that are not UTF-8 are escaped: see escaped.
//
// Files and problems are written as they come, so a report takes no memory,
// however long it is; the problems go to a second temporary file until all files
// are told. FILE itself is replaced at the end: see atomicFile.
//
// Safe for concurrent use. The methods do nothing where it is nil.
type report struct {
	mu       sync.Mutex
	out      *atomicFile  // guarded by mu
	problems *atomicFile  // guarded by mu; nil until there is one
	files    int          // written; guarded by mu
	buf      bytes.Buffer // guarded by mu
	err      error        // the first that came; guarded by mu
}

// A reportHeader is what a report says of a run at its beginning.
type reportHeader struct {
	V       int       `json:"v"` // set by newReport
	Pawl    string    `json:"pawl"`
	Started time.Time `json:"started"`
	Lists   []string  `json:"lists,omitempty"`
	Dir     string    `json:"dir,omitempty"`
}

// An end is what became of a file.
type reportOutcome string

const (
	outcomeFetched   reportOutcome = "fetched"   // it is there, of this run
	outcomeCurrent   reportOutcome = "current"   // it was there, and nobody was asked
	outcomeUnchanged reportOutcome = "unchanged" // it was there, and the server said that it is still the same
	outcomeFailed    reportOutcome = "failed"    // Error says why
	outcomeWanted    reportOutcome = "wanted"    // it would be fetched, but for --dry-run
	outcomePending   reportOutcome = "pending"   // the run ended before it was tried, or tried again
	outcomePruned    reportOutcome = "pruned"    // deleted, as the lists no longer name it
)

// A knownSize is a number of bytes; -1, for an unknown one, is left out.
type knownSize int64

// IsZero is for omitzero.
func (s knownSize) IsZero() bool { return s < 0 }

// A reportFile is the entry of a file.
type reportFile struct {
	Path     string        `json:"path,omitempty"`
	URL      string        `json:"url,omitempty"` // as asked
	FinalURL string        `json:"final_url,omitempty"`
	Outcome  reportOutcome `json:"outcome"`
	Size     knownSize     `json:"size,omitzero"`     // bytes; -1 unknown
	Fetched  int64         `json:"fetched,omitempty"` // bytes that this run received
	Seconds  float64       `json:"seconds,omitempty"`
	Retries  int           `json:"retries,omitempty"`
	Rounds   int           `json:"rounds,omitempty"`   // how often it was begun
	Sum      string        `json:"sum,omitempty"`      // ALGO:HEX
	CRC32C   string        `json:"crc32c,omitempty"`   // hex
	Complete string        `json:"complete,omitempty"` // "unknown" if the server did not mark the end of the file
	List     string        `json:"list,omitempty"`
	Line     int           `json:"line,omitempty"`
	Error    string        `json:"error,omitempty"`
	Exit     int           `json:"exit,omitempty"` // the code that Error has by itself
}

// A reportProblem is a line of a list that cannot be used.
type reportProblem struct {
	List  string `json:"list,omitempty"`
	Line  int    `json:"line,omitempty"`
	Error string `json:"error"`
}

// newReport begins the report at path. To end it there is close, or else abort.
func newReport(path string, h reportHeader) (*report, error) {
	out, err := newAtomicFile(path)
	if err != nil {
		return nil, err
	}
	r := &report{out: out}
	h.V, h.Dir, h.Lists = reportVersion, escaped(h.Dir), slices.Clone(h.Lists)
	for i, list := range h.Lists {
		h.Lists[i] = listForJSON(list)
	}
	out.Write(bytes.TrimSuffix(r.encode(h), []byte("}")))
	out.Write([]byte(",\n\"files\":["))
	return r, nil
}

// shownList returns the name of a list for JSON: without user and password, if it is
// a URL.
func listForJSON(name string) string {
	if strings.Contains(name, "://") {
		name = downloader.WithoutUser(name)
	}
	return escaped(name)
}

// encode returns v as JSON, valid until the next call. mu is held, or nobody
// else knows r yet.
func (r *report) encode(v any) []byte {
	r.buf.Reset()
	enc := json.NewEncoder(&r.buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil && r.err == nil {
		r.err = &outputError{r.out.path, err}
	}
	return bytes.TrimSuffix(r.buf.Bytes(), []byte("\n"))
}

// add writes v as an element of an array to out; first says that it is that.
func (r *report) writeElement(out *atomicFile, v any, first bool) {
	separator := ",\n"
	if first {
		separator = "\n"
	}
	if text := r.encode(v); len(text) > 0 {
		out.Write([]byte(separator))
		out.Write(text)
	}
}

// shown returns f for JSON: without user and password in its URLs.
func (f reportFile) forJSON() reportFile {
	f.List = listForJSON(f.List)
	f.URL, f.FinalURL = escaped(downloader.WithoutUser(f.URL)), escaped(downloader.WithoutUser(f.FinalURL))
	f.Path, f.Error = escaped(f.Path), escaped(f.Error)
	return f
}

// shown returns p for JSON.
func (p reportProblem) forJSON() reportProblem {
	p.List, p.Error = listForJSON(p.List), escaped(p.Error)
	return p
}

// file tells of a file. What goes wrong is for close to tell.
func (r *report) addFile(f reportFile) {
	if r == nil {
		return
	}
	f = f.forJSON()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writeElement(r.out, f, r.files == 0)
	r.files++
}

// problem tells of a line that cannot be used.
func (r *report) addProblem(p reportProblem) {
	if r == nil {
		return
	}
	p = p.forJSON()
	r.mu.Lock()
	defer r.mu.Unlock()
	first := r.problems == nil
	if first && r.err == nil {
		r.problems, r.err = newAtomicFile(r.out.path)
	}
	if r.problems != nil {
		r.writeElement(r.problems, p, first)
	}
}

// close ends the report with s, and puts it in its place; on an error there is
// none. It is called once, after the last file and problem.
func (r *report) close(s summary) error {
	if r == nil {
		return nil
	}
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
	r.out.Write(r.encode(time.Now()))
	r.out.Write([]byte("}\n"))
	if r.err != nil {
		return r.err
	}
	return r.out.commit()
}

// abort leaves no report. After close it does nothing.
func (r *report) abort() {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.problems.abort()
	r.out.abort()
}
