package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"pawl/downloader"
)

// A summary is the result of a run: the "summary" of a report, and the last lines on stderr.
// Files is the sum of Fetched, Current, Unchanged, Failed and Pending, which have the
// meanings of the reportOutcomes.
type summary struct {
	Files     int  `json:"files"` // files in the lists, as far as the lists were read
	Fetched   int  `json:"fetched"`
	Current   int  `json:"current"`
	Unchanged int  `json:"unchanged"`
	Failed    int  `json:"failed"`
	Pending   int  `json:"pending"` // includes interrupted files and, with --dry-run, the files to download
	Pruned    int  `json:"pruned,omitempty"`
	Problems  int  `json:"problems"`          // unusable lines and unreadable lists
	Mirrors   int  `json:"mirrors,omitempty"` // URLs in the lists that are not used, because they are not http or https
	More      bool `json:"more,omitempty"`    // the lists were not read to their end, so Files may be too small

	Bytes   int64   `json:"bytes"` // received, including bytes of failed files
	Seconds float64 `json:"seconds"`
	Exit    int     `json:"exit"`

	Failures map[int]int `json:"-"` // number of Failed files by exit code
	Unread   int         `json:"-"` // unreadable lists; Problems includes them
	Empty    int         `json:"-"` // lists without entries; Problems includes them
	DryRun   bool        `json:"-"` // Pending counts the files that would be downloaded
	Shard    string      `json:"-"` // such as "3/16", if the counts are about one shard
}

// count adds the result of one download.
func (s *summary) count(res downloader.Result, err error) {
	s.Bytes += res.Fetched
	switch {
	case err != nil:
		s.Failed++
	case res.Current:
		s.Unchanged++
	default:
		s.Fetched++
	}
}

// failureNames are short names of failures by exit code. Each code of exitKinds must have
// one.
var failureNames = map[int]string{
	1: "other", 2: "usage", 3: "local file, or another pawl has it", 4: "network", 5: "TLS", 6: "authentication", 7: "protocol", 8: "HTTP error",
	9: "disk full", 13: "file exists", 17: "remote file changed", 32: "checksum mismatch", 75: "temporary",
}

// summaryLines returns s for people, in at most six lines. There is no line for a count of 0.
func summaryLines(s summary) []string {
	lines := []string{s.filesLine()}
	// optional adds a line for a count: none for 0, and one for 1 in the singular.
	optional := func(n int, one, many string) {
		switch {
		case n == 1:
			lines = append(lines, one)
		case n > 1:
			lines = append(lines, fmt.Sprintf(many, n))
		}
	}
	kinds := s.failureKinds()
	optional(s.Failed, "1 failed"+kinds, "%d failed"+kinds)
	if s.DryRun {
		optional(s.Pending, "1 would be fetched", "%d would be fetched")
	} else {
		optional(s.Pending, "1 is left for another run", "%d are left for another run")
	}
	deleted := map[bool]string{true: "would be deleted", false: "deleted"}[s.DryRun]
	optional(s.Pruned, "1 "+deleted, "%d "+deleted)
	if problems := s.listProblems(); problems != "" {
		lines = append(lines, problems)
	}
	if s.More {
		lines = append(lines, "the lists were not read to their end")
	}
	return lines
}

// listProblems returns how many lists and lines cannot be used, or "" if there are none. A list
// is a problem too, but it is no unusable line.
func (s summary) listProblems() string {
	var parts []string
	for _, p := range []struct {
		n         int
		one, many string
	}{
		{s.Unread, "1 list cannot be read", "%d lists cannot be read"},
		{s.Empty, "1 list names no files", "%d lists name no files"},
		{s.Problems - s.Unread - s.Empty, "1 line of the lists cannot be used", "%d lines of the lists cannot be used"},
	} {
		switch {
		case p.n == 1:
			parts = append(parts, p.one)
		case p.n > 1:
			parts = append(parts, fmt.Sprintf(p.many, p.n))
		}
	}
	return strings.Join(parts, ", ")
}

// filesLine returns how many files are complete, by their sources, for example "all
// 3 files are here: 2 fetched, 1 already here, 3.1 MiB received in 0.8s (3.9 MiB/s)".
func (s summary) filesLine() string {
	here := s.Fetched + s.Current + s.Unchanged
	var line string
	switch {
	case s.Files == 0 && (s.More || s.Problems > 0): // not "the lists name no files", which may be untrue
		return "no file was read from the lists"
	case s.Files == 0 && s.Shard != "":
		return fmt.Sprintf("no file of the lists belongs to shard %s", s.Shard)
	case s.Files == 0:
		return "the lists name no files"
	case s.Files == 1 && here == 1 && !s.More:
		line = "the one file is here"
	case here == s.Files && !s.More:
		line = fmt.Sprintf("all %d files are here", here)
	default:
		line = fmt.Sprintf("%d of %s here", here, countText(s.Files, s.More))
	}
	var parts []string
	for _, p := range []struct {
		n    int
		text string
	}{{s.Fetched, "fetched"}, {s.Current, "already here"}, {s.Unchanged, "checked and unchanged"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.text))
		}
	}
	if s.Bytes > 0 {
		parts = append(parts, s.receivedText())
	}
	if len(parts) == 0 {
		return line
	}
	return line + ": " + strings.Join(parts, ", ")
}

// countText returns the middle of "2 of 3 files are here": "3 files are".
func countText(files int, more bool) string {
	switch {
	case more && files == 1:
		return "the 1 file read so far is"
	case more:
		return fmt.Sprintf("the %d files read so far are", files)
	case files == 1:
		return "1 file is"
	}
	return fmt.Sprintf("%d files are", files)
}

// receivedText returns the received bytes and the mean rate. A run of 0 s counts as 1 ms.
func (s summary) receivedText() string {
	elapsed := time.Duration(s.Seconds * float64(time.Second))
	return fmt.Sprintf("%s received in %s (%s/s)", size(s.Bytes), span(elapsed), size(int64(float64(s.Bytes)/max(s.Seconds, 0.001))))
}

// failureName returns the name of an exit code for people.
func failureName(code int) string {
	return cmp.Or(failureNames[code], fmt.Sprintf("exit code %d", code))
}

// failureKinds returns the kinds of the failures after a colon, the most frequent one first,
// for example ": 7 HTTP error, 1 network". It is empty if the kinds are unknown.
func (s summary) failureKinds() string {
	codes := make([]int, 0, len(s.Failures))
	for code, n := range s.Failures {
		if n > 0 {
			codes = append(codes, code)
		}
	}
	slices.SortFunc(codes, func(a, b int) int {
		return cmp.Or(cmp.Compare(s.Failures[b], s.Failures[a]), cmp.Compare(a, b))
	})
	if len(codes) == 1 { // without its number, which the caller has printed
		return ": " + failureName(codes[0])
	}
	var parts []string
	for _, code := range codes {
		parts = append(parts, fmt.Sprintf("%d %s", s.Failures[code], failureName(code)))
	}
	if len(parts) == 0 {
		return ""
	}
	return ": " + strings.Join(parts, ", ")
}
