// Package list reads lists of files to download: aria2 input files, of which
// one URL a line is the simplest case, checksum files, Metalinks and JSON lines.
// It is pure: text in, entries out; no network, no file, no goroutine.
//
// A list is a stream. Of it no more is held than one entry, whose text may have
// 1 MiB. What is wrong with one line is a [Problem] of that line; the lines after
// it are read all the same.
//
//	list.go      what an entry is; Read
//	detect.go    which format it is, and what comes before: gzip, a BOM
//	lines.go     lines with their numbers
//	collect.go   what each format does with an entry: check it, expand it, yield it
//	aria2.go     the aria2 input file; option.go its options
//	sums.go      checksum files as a list; digest.go one line; table.go as a proof
//	metalink.go  RFC 5854 and its predecessor, Metalink 3; metafile.go one file
//	json.go      JSON lines
//	expand.go    patterns in URLs
//	check.go     what names, URLs and header fields may be
//	write.go     an entry as text
package list

import (
	"fmt"
	"io"
	"iter"
	"net/http"

	"pawl/chunk"
)

// An Entry is one file of a list.
type Entry struct {
	URLs   []string    // where it is, best first; one http or https URL at least
	Out    string      // local path, slash-separated, below Dir; "" if the URL tells
	Dir    string      // as the list says, unchecked but for control characters; "" for none
	Sum    chunk.Sum   // zero if the list has none that is known
	Size   int64       // in bytes; -1 if unknown
	Header http.Header // to send along, referer, user agent and basic authorization too; nil for none
	List   string      // name of the list
	Line   int         // where the entry begins, from 1
}

// A Problem is what is wrong with one line of a list; the rest of it is good.
type Problem struct {
	List    string
	Line    int // from 1
	Err     error
	Warning bool // worth knowing, but no entry is lost by it
}

// Error returns "LIST:LINE: what".
func (p *Problem) Error() string { return fmt.Sprintf("%s:%d: %v", p.List, p.Line, p.Err) }

// Unwrap returns what is wrong, without where.
func (p *Problem) Unwrap() error { return p.Err }

// A Format says how a list is written. The zero value is told by the content.
type Format string

// The formats. A plain list of URLs is an aria2 input file.
const (
	Aria2    Format = "aria2"
	Checksum Format = "sums"
	Metalink Format = "metalink"
	JSON     Format = "json"
)

// Options are how to read a list. The zero value is to be told by its content.
type Options struct {
	Format Format // "" for what the content looks like
	Base   string // URL against which names and relative URLs are resolved (RFC 3986 §5); a directory ends in a slash
	Glob   bool   // URLs of aria2 and JSON lists are patterns, see Expand
	Most   int64  // bytes of text, after gzip is undone, beyond which reading fails; 0 for no limit
}

// Read returns the entries of a list and its problems, in order; name is for
// messages, and tells the file of a checksum without one. An error that is no
// *Problem is the last: the list cannot be read, it is a web page or in an
// unknown format, or it is a checksum file without a valid line.
//
// The sequence is for one use. An entry that a problem befell is not yielded:
// never is a file fetched otherwise than its list says, unchecked above all.
func Read(name string, r io.Reader, o Options) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		c := &collector{name: name, o: o, yield: yield}
		if err := c.read(r); err != nil {
			yield(Entry{}, err)
		}
	}
}
