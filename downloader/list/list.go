// Package list reads lists of files to download. It knows seven formats: aria2
// input files (one URL per line is the simplest case), checksum files, Metalinks,
// JSON, tables, configuration files of curl, and the index pages of web servers. It is
// pure: text goes in, entries come out. It opens no file and
// no connection, and starts no goroutine.
//
// A list is read as a stream: at most one entry and one line, each limited to
// 1 MiB, and 2 MiB of piece digests, are in memory at a time, because a list may have
// millions of entries. A faulty line is reported as a [Problem]; reading continues after it.
//
//	list.go       Entry, Problem, Options, Read
//	looks.go      refuses a text that is no list by its first bytes
//	text.go       undoes gzip and encodings; rejects web pages and binaries
//	detect.go     recognises the format
//	lines.go      splits the text into numbered lines for the formats made of lines
//	collector.go  checks, expands and yields the entries of every format
//	aria2.go      aria2 input files and their options
//	sources.go    the URLs of an aria2 input file, and digests beside them
//	command.go    lines of shell scripts, such as "wget -c URL"
//	algorithms.go names of digests, and digests beside URLs in every format
//	digestname.go which keys and columns have digests
//	digest.go     one line of a checksum file
//	checksums.go  a checksum file read as a list of downloads
//	strongest.go  the strongest digest of each file in a checksum file
//	sums.go       a checksum file read as a lookup table for another list
//	metalink.go   Metalink 4 (RFC 5854) and Metalink 3
//	pieces.go     the piece digests of a Metalink
//	json.go       JSON lines
//	jsonsums.go   the digests in JSON
//	jsonstream.go JSON arrays, and objects that extend over lines
//	table.go      CSV and the like
//	curl.go       configuration files of curl
//	index.go      index pages of web servers; recognises HTML
//	indexjudge.go decides whether an HTML page is an index
//	glob.go       patterns for paths, such as *.iso
//	expand.go     patterns in URLs, such as [1-20]
//	check.go      which names, URLs and header fields are valid
//	write.go      writes an entry in aria2 format
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
	// URLs are the sources of the file, best first. There is at least one, and all
	// are http or https.
	URLs []string
	// Out is the file's path below Dir: relative, slash-separated and without "..",
	// for example "iso/x.iso". If it is empty, the caller derives the name from the URL.
	Out string
	// Dir is the target directory as the list names it, "" if it names none. It has no
	// control characters; nothing else is checked, so the caller must decide whether
	// the list may write there.
	Dir string
	// Sum is the checksum of the file, zero if the list has none in a known algorithm.
	Sum chunk.Sum
	// Pieces are digests of the pieces of the file, zero if the list has none in a known
	// algorithm. If Size is known, they fit it.
	Pieces chunk.PieceHashes `json:",omitzero"`
	// Size is the length of the file in bytes, -1 if the list does not state it.
	Size int64
	// Header holds the request header fields, nil for none. It includes the fields that
	// options such as referer, user-agent and http-user stand for.
	Header http.Header
	// List is the name of the list, as passed to Read.
	List string
	// Line is the number of the line on which the entry begins, from 1.
	Line int
}

// A Problem is an error or a warning about one line of a list. The other lines are
// read all the same.
type Problem struct {
	List string // name of the list, as passed to Read
	Line int    // line number, from 1
	Err  error
	// Warning reports that the entry of the line is still yielded. Without it, the
	// entry is lost.
	Warning bool
}

// Error returns "LIST:LINE: message", for example `urls.txt:7: entry has no URL`.
func (p *Problem) Error() string { return fmt.Sprintf("%s:%d: %v", p.List, p.Line, p.Err) }

// Unwrap returns the error without its place in the list.
func (p *Problem) Unwrap() error { return p.Err }

// A Format is the syntax of a list. With the zero value, Read detects the format
// from the first 64 KiB of the text; usually the first line is enough.
type Format string

// The formats. A file with one URL per line is in format Aria2.
const (
	Aria2    Format = "aria2"
	Checksum Format = "sums"
	Metalink Format = "metalink"
	JSON     Format = "json"
	Table    Format = "csv" // with commas or tabs
	Curl     Format = "curl"
	Index    Format = "index" // needs Options.Page
)

// Options control how Read interprets a list. The zero value detects the format,
// and accepts absolute URLs only.
type Options struct {
	// Format is the syntax of the list; "" detects it.
	Format Format
	// Base is the URL against which relative URLs, and the file names of a checksum
	// file, are resolved (RFC 3986 section 5). A directory must end in a slash:
	// "http://h/d/" and not "http://h/d". If it is empty, relative URLs are errors.
	Base string
	// Glob makes the URLs of all lists but checksum files and Metalinks patterns, as Expand describes.
	Glob bool
	// Page describes the source of the text. With it, an HTML page may be an index page; without
	// it, a web page is an error.
	Page *Page
	// MaxBytes limits the text after gzip is undone; reading fails beyond it. It
	// protects against endless lists and gzip bombs. 0 means no limit.
	MaxBytes int64
}

// Read returns the entries and the problems of a list, in the order of its lines.
// The name appears in messages; if a checksum file contains a bare digest, the name
// also says which file the digest belongs to ("x.iso.sha256": "x.iso").
//
// An error is either a *[Problem] of one line, or the last value of the sequence: r
// failed, the options are invalid, the text is a web page or in no known format, or a
// checksum file has no valid line.
//
// An entry with a faulty line is not yielded, because the file must not be downloaded
// without its checksum or under another name than its list says.
//
// The sequence must be iterated only once, since that consumes r. If r is an io.Seeker, a checksum
// file is read several times from the present position of r, so that each file has its strongest digest,
// on whatever line. Otherwise a file has the strongest of its first lines in a row, with a warning if
// stronger digests come later.
func Read(name string, r io.Reader, o Options) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		c := &collector{name: name, options: o, yield: yield}
		if err := c.read(r); err != nil {
			yield(Entry{}, err)
		}
	}
}
