package main

// This file merges the reports of the shards of a run.

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pawl/downloader/mirror"
)

// A mergeError means that the reports are not the reports of all shards of one run.
type mergeError struct{ error }

// newMergeError returns a mergeError, which is a usage error.
func newMergeError(format string, args ...any) error {
	return usageErr{mergeError{fmt.Errorf(format, args...)}}
}

// Run merges the reports. The result and the exit code are as of one run without shards, except for times
// and for the order of files, which follows the shards.
func (c *MergeCmd) Run(out *printer) error {
	shards, err := readShards(c.Reports)
	if err != nil {
		return err
	}
	path := c.Output
	if path == "" {
		dir, err := os.MkdirTemp("", "pawl-report-*") // and not stdout at once, because a report may turn out to be damaged
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		path = filepath.Join(dir, "report")
	}
	s, err := mergeShards(shards, path)
	if err == nil && c.Output == "" {
		err = copyFileTo(out.stdout, path)
	}
	if err != nil {
		return err
	}
	for _, line := range summaryLines(s) {
		out.note("%s", line)
	}
	if s.Exit == 0 {
		return nil
	}
	return reportedError{exitCodeError(s.Exit)}
}

// copyFileTo writes the content of a file to w.
func copyFileTo(w io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}

// A shardReport is a report of a shard.
type shardReport struct {
	path   string
	header reportHeader
	shard  mirror.Shard
}

// readShards reads the headers of reports. It returns them in the order of their shards, each
// exactly once, or a mergeError.
func readShards(paths []string) ([]shardReport, error) {
	var all []shardReport
	for _, path := range paths {
		r, err := readShard(path)
		if err != nil {
			return nil, err
		}
		if len(all) > 0 && r.header.Run != all[0].header.Run {
			return nil, newMergeError("%q is a report of another run than %q: %s", path, all[0].path, r.differenceFrom(all[0]))
		}
		all = append(all, r)
	}
	slices.SortStableFunc(all, func(a, b shardReport) int { return cmp.Compare(a.shard.Index, b.shard.Index) })
	for i := range all[1:] {
		if a, b := all[i], all[i+1]; a.shard == b.shard {
			return nil, newMergeError("%q and %q are both reports of shard %s", a.path, b.path, a.shard)
		}
	}
	if missing := missingShards(all); missing != "" {
		return nil, newMergeError("there is no report of shard %s", missing)
	}
	return all, nil
}

// readShard reads the header of a report.
func readShard(path string) (shardReport, error) {
	r := shardReport{path: path}
	in := reportReader{headerOnly: true}
	err := in.readFile(path)
	r.header = in.header
	if err == nil && r.header.Shard == "" {
		return r, newMergeError("%q is the report of a run without --shard", path)
	}
	if err == nil {
		if r.shard, err = mirror.ParseShard(r.header.Shard); err != nil {
			err = newMergeError("%q: %w", path, err)
		}
	}
	return r, err
}

// differenceFrom describes a difference between the runs of r and b, which must be different runs.
func (r shardReport) differenceFrom(b shardReport) string {
	switch {
	case r.shard.Count != b.shard.Count:
		return fmt.Sprintf("it has %d shards instead of %d", r.shard.Count, b.shard.Count)
	case r.header.Dir != b.header.Dir:
		return fmt.Sprintf("its directory is %q instead of %q", r.header.Dir, b.header.Dir)
	}
	return "its lists or its --shard-by are others"
}

// missingShards returns the shards without a report, for example "2/16, 7/16 to 9/16", or "". The
// reports must be in the order of their shards.
func missingShards(sorted []shardReport) string {
	var gaps []string
	next, count := 1, sorted[0].shard.Count
	gap := func(end int) { // notes that the shards from next to end are missing
		switch {
		case next == end:
			gaps = append(gaps, fmt.Sprintf("%d/%d", next, count))
		case next < end:
			gaps = append(gaps, fmt.Sprintf("%d/%d to %d/%d", next, count, end, count))
		}
	}
	for _, r := range sorted {
		gap(r.shard.Index - 1)
		next = r.shard.Index + 1
	}
	gap(count)
	return strings.Join(gaps, ", ")
}

// A reportMerger writes the report of a run from the reports of its shards.
type reportMerger struct {
	out            *report
	summary        summary
	codes          map[int]int       // number of shards, by exit code
	seen           map[[16]byte]bool // hashes of the problems of whole lists, which several shards may have
	started, ended time.Time         // of the first shard, and of the last one
}

// mergeShards writes the merged report to path, and returns its summary. It holds one entry of a
// report in memory at a time.
func mergeShards(shards []shardReport, path string) (summary, error) {
	m := reportMerger{codes: make(map[int]int), seen: make(map[[16]byte]bool), started: shards[0].header.Started}
	m.summary.Failures = make(map[int]int)
	for _, r := range shards {
		if r.header.Started.Before(m.started) {
			m.started = r.header.Started
		}
	}
	h := shards[0].header
	h.Started, h.Shard, h.Run = m.started, "", ""
	var err error
	if m.out, err = newReport(path, h); err != nil {
		return m.summary, err
	}
	defer m.out.abort()
	for _, r := range shards {
		if err := m.add(r.path); err != nil {
			return m.summary, err
		}
	}
	m.summary.Exit = worstCode(m.codes)
	m.summary.Seconds = max(0, m.ended.Sub(m.started).Seconds())
	return m.summary, m.out.closeAt(m.summary, m.ended)
}

// add adds the report of a shard.
func (m *reportMerger) add(path string) error {
	in := reportReader{file: m.addFile, problem: m.addProblem}
	if err := in.readFile(path); err != nil {
		return err
	}
	s, t := in.summary, &m.summary
	t.Files, t.Fetched, t.Current, t.Unchanged = t.Files+s.Files, t.Fetched+s.Fetched, t.Current+s.Current, t.Unchanged+s.Unchanged
	t.Failed, t.Pending, t.Pruned, t.Mirrors = t.Failed+s.Failed, t.Pending+s.Pending, t.Pruned+s.Pruned, t.Mirrors+s.Mirrors
	t.Bytes, t.More = t.Bytes+s.Bytes, t.More || s.More
	if s.Exit != 0 && !slices.Contains(exitPriority, s.Exit) { // of another version
		s.Exit = 1
	}
	m.codes[s.Exit]++
	if in.ended.After(m.ended) {
		m.ended = in.ended
	}
	return nil
}

// addFile adds an entry of "files".
func (m *reportMerger) addFile(raw json.RawMessage) error {
	var f struct {
		Outcome reportOutcome `json:"outcome"`
		Exit    int           `json:"exit"`
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		return err
	}
	switch f.Outcome {
	case outcomeFailed:
		m.summary.Failures[f.Exit]++
	case outcomeWanted:
		m.summary.DryRun = true
	}
	m.out.appendFile(raw)
	return nil
}

// addProblem adds an entry of "problems". If several shards could not read a list for the same
// reason, it is one problem.
func (m *reportMerger) addProblem(raw json.RawMessage) error {
	var p reportProblem
	if err := json.Unmarshal(raw, &p); err != nil {
		return err
	}
	if p.Line == 0 {
		sum := sha256.Sum256([]byte(p.List + "\x00" + p.Error))
		hash := [16]byte(sum[:16])
		if m.seen[hash] {
			return nil
		}
		m.seen[hash] = true
		if strings.HasSuffix(p.Error, namesNoFiles) {
			m.summary.Empty++
		} else {
			m.summary.Unread++
		}
	}
	m.summary.Problems++
	m.out.appendProblem(raw)
	return nil
}

// A reportReader reads a report as a stream. file and problem get each entry as it is written, which
// is valid until they return. The last three fields are the result.
type reportReader struct {
	headerOnly    bool // read up to "files" only; file and problem may be nil
	file, problem func(json.RawMessage) error

	header  reportHeader
	summary summary
	ended   time.Time
}

// readFile reads the report at path. Its errors name the report, and are mergeErrors.
func (r *reportReader) readFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return newMergeError("report %q cannot be read: %w", path, err)
	}
	defer f.Close()
	err = r.read(json.NewDecoder(f))
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		err = errors.New("it ends in the middle")
	}
	if err != nil {
		return newMergeError("%q is no report that can be merged: %w", path, err)
	}
	return nil
}

// read reads the report, or its beginning if headerOnly is set.
func (r *reportReader) read(in *json.Decoder) error {
	if err := expect(in, '{'); err != nil {
		return err
	}
	found := make(map[string]bool)
	for in.More() {
		key, err := in.Token()
		if err != nil {
			return err
		}
		name, _ := key.(string) // the decoder accepts nothing else
		if name == "files" && r.headerOnly {
			return r.checkVersion()
		}
		if err := r.readValue(in, name); err != nil {
			return err
		}
		found[name] = true
	}
	for _, name := range []string{"files", "problems", "summary", "ended"} {
		if !found[name] {
			return fmt.Errorf("it has no %q", name)
		}
	}
	if err := expect(in, '}'); err != nil {
		return err
	}
	if _, err := in.Token(); err != io.EOF {
		return errors.New("something follows it")
	}
	return r.checkVersion()
}

// readValue reads the value of a key. Keys of newer versions are skipped.
func (r *reportReader) readValue(in *json.Decoder, key string) error {
	h := &r.header
	switch key {
	case "files":
		return readArray(in, r.file)
	case "problems":
		return readArray(in, r.problem)
	}
	values := map[string]any{"v": &h.V, "pawl": &h.Pawl, "started": &h.Started, "lists": &h.Lists, "dir": &h.Dir, "shard": &h.Shard, "run": &h.Run, "summary": &r.summary, "ended": &r.ended}
	value, known := values[key]
	if !known {
		value = new(json.RawMessage)
	}
	return in.Decode(value)
}

// checkVersion refuses a report whose keys may have another meaning.
func (r *reportReader) checkVersion() error {
	if r.header.V != reportVersion {
		return fmt.Errorf("its version is %d instead of %d", r.header.V, reportVersion)
	}
	return nil
}

// readArray calls add for each element of an array.
func readArray(in *json.Decoder, add func(json.RawMessage) error) error {
	if err := expect(in, '['); err != nil {
		return err
	}
	var raw json.RawMessage // its memory is used for all elements
	for in.More() {
		if err := in.Decode(&raw); err != nil {
			return err
		}
		if err := add(raw); err != nil {
			return err
		}
	}
	return expect(in, ']')
}

// expect reads a delimiter.
func expect(in *json.Decoder, want json.Delim) error {
	got, err := in.Token()
	if err == nil && got != want {
		err = fmt.Errorf("it has %v instead of %v", got, want)
	}
	return err
}
