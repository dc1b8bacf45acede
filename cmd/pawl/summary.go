package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"pawl/downloader"
)

// A summary is how a run over lists ended. The counts from Fetched to Pending
// make up Files.
type summary struct {
	Files     int  `json:"files"` // that the lists name, as far as they were read
	Fetched   int  `json:"fetched"`
	Current   int  `json:"current"`
	Unchanged int  `json:"unchanged"`
	Failed    int  `json:"failed"`
	Pending   int  `json:"pending"` // interrupted ones, too
	Pruned    int  `json:"pruned,omitempty"`
	Problems  int  `json:"problems"`
	More      bool `json:"more,omitempty"` // the lists were not read to their end

	Bytes   int64   `json:"bytes"` // received, of files that failed, too
	Seconds float64 `json:"seconds"`
	Exit    int     `json:"exit"`

	Failures map[int]int `json:"-"` // of the Failed ones, how many have which exit code
	Unread   int         `json:"-"` // lists that cannot be read; of Problems, too
	DryRun   bool        `json:"-"` // Pending ones would be fetched
}

// count adds the end of one download.
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

// failureNames are the kinds of failures, for people, by exit code.
var failureNames = map[int]string{
	1: "other", 2: "usage", 3: "local file, or another pawl has it", 4: "network", 5: "TLS", 6: "authentication", 7: "protocol", 8: "the server said no",
	9: "disk full", 13: "a foreign file is in the way", 17: "the remote file changed", 32: "checksum mismatch", 75: "temporary",
}

// summaryLines says in five lines or fewer what s says, each for
// speaker.note. Of what there was none there is no line.
func summaryLines(s summary) []string {
	lines := []string{s.filesLine()}
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
	if wrong := s.listProblems(); wrong != "" {
		lines = append(lines, wrong)
	}
	if s.More {
		lines = append(lines, "the lists were not read to their end")
	}
	return lines
}

// wrong says what is wrong with the lists, "" for nothing.
func (s summary) listProblems() string {
	var parts []string
	for _, p := range []struct {
		n         int
		one, many string
	}{
		{s.Unread, "1 list cannot be read", "%d lists cannot be read"},
		{s.Problems - s.Unread, "1 line of the lists cannot be used", "%d lines of the lists cannot be used"},
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

// hereLine says how many files there are now, and where they are from.
func (s summary) filesLine() string {
	here := s.Fetched + s.Current + s.Unchanged
	var line string
	switch {
	case s.Files == 0 && (s.More || s.Problems > 0):
		return "no file was read from the lists"
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
	}{{s.Fetched, "fetched"}, {s.Current, "here before"}, {s.Unchanged, "asked for and unchanged"}} {
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

// are is the middle of "2 of 3 files are here".
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

// received says how much has arrived, how fast.
func (s summary) receivedText() string {
	elapsed := time.Duration(s.Seconds * float64(time.Second))
	return fmt.Sprintf("%s received in %s (%s/s)", size(s.Bytes), span(elapsed), size(int64(float64(s.Bytes)/max(s.Seconds, 0.001))))
}

func failureName(code int) string {
	return cmp.Or(failureNames[code], fmt.Sprintf("exit code %d", code))
}

// kinds says what the failures were, the most frequent ones first, behind a
// colon; nothing if nobody knows.
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
	if len(codes) == 1 {
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
