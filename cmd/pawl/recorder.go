package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"pawl/downloader"
	"pawl/downloader/list"
	"pawl/downloader/mirror"
	"pawl/downloader/weburl"
	"pawl/store"
)

// A recorder records the outcome of each download: it adds it to the report and runs the
// hooks. It does not print anything. It is safe for concurrent use. Either close or abort
// must be called in the end.
type recorder struct {
	report  *report // nil without --report
	hooks   *hooks  // nil without hooks
	started time.Time
}

// newRecorder begins the report and starts the hooks that the options ask for. h is the
// header of the report, without the fields that are the same for all commands.
func (o *ResultOptions) newRecorder(ctx context.Context, out *printer, h reportHeader) (*recorder, error) {
	r := &recorder{started: time.Now()}
	if o.Report != "" {
		h.Pawl, h.Started = version(), r.started
		var err error
		if r.report, err = newReport(o.Report, h); err != nil {
			return nil, err
		}
	}
	r.hooks = newHooks(ctx, hookOptions{onComplete: o.OnComplete, onError: o.OnError, timeout: time.Duration(o.HookTimeout)}, out)
	return r, nil
}

// abort discards the report, and waits for the hooks.
func (r *recorder) abort() {
	r.report.abort()
	r.hooks.close()
}

// completed records that the download of req has finished, or failed with err.
func (r *recorder) completed(req downloader.Request, res downloader.Result, err error) {
	f := reportFile{
		Path: res.Target, URL: weburl.WithoutUser(req.URL), FinalURL: res.Final, Outcome: outcomeFetched, Size: knownSize(res.Size),
		Fetched: res.Fetched, Seconds: res.Elapsed.Seconds(), Retries: res.Retries, Rounds: 1, Sum: res.Sum.String(), Proof: string(res.Proof), Complete: completeText(res.Unframed), Page: res.Page && err == nil,
	}
	// Hooks run for files that this run downloaded or failed to download, but not for a file
	// that was already complete.
	switch {
	case err != nil:
		f.Outcome, f.Size, f.Error, f.Exit = outcomeFailed, -1, err.Error(), exitCode(err)
		r.hooks.push(hookFile{res.Target, req.URL, -1, res.ID, err})
	case res.Current:
		f.Outcome = outcomeUnchanged
	default:
		r.hooks.push(hookFile{res.Target, req.URL, res.Size, res.ID, nil})
	}
	r.report.addFile(f)
}

// pending records that the download of req was interrupted, or did not begin. rec is its
// record, or the zero Record if there is none.
func (r *recorder) pending(req downloader.Request, rec store.Record) {
	r.report.addFile(reportFile{URL: weburl.WithoutUser(req.URL), Path: rec.Target, Outcome: outcomePending, Size: -1})
}

// close waits for the hooks and ends the report. err is the error that the run ends with.
func (r *recorder) close(s summary, err error) error {
	r.hooks.close()
	s.Seconds, s.Exit = time.Since(r.started).Seconds(), exitCode(err)
	return r.report.close(s)
}

// A mirrorRecorder records the outcome of each file of a mirror run. Besides the work of a
// recorder it prints and counts the outcomes, and writes the list of --failed. mirror.Run
// calls its methods one at a time, so it needs no lock.
type mirrorRecorder struct {
	*recorder
	cmd       *MirrorCmd
	out       *printer
	show      *display
	run       counter        // source of all counts
	failed    *atomicFile    // the list of --failed, or nil
	codes     map[int]int    // number of failed files, by exit code
	listCodes map[int]int    // number of unusable lines and unreadable lists, by exit code
	unread    int            // number of unreadable lists
	empty     int            // number of lists without entries, which are problems
	mirrors   int            // number of mirrors that are not used because of their scheme
	pages     int            // number of fetched files that are unexpected web pages
	hints     map[int]string // the first hint of a failed file, by exit code
	headers   originHeaders

	interrupted func() string // hint after a signal or a deadline
}

// A counter counts the files of a run, as mirror.Run does.
type counter interface{ Counts() mirror.Counts }

// newMirrorRecorder begins the files of --failed and --report. The fields show and run must
// be set before the first outcome.
func (c *MirrorCmd) newMirrorRecorder(ctx context.Context, out *printer) (*mirrorRecorder, error) {
	o := &mirrorRecorder{cmd: c, out: out, codes: make(map[int]int), listCodes: make(map[int]int), hints: make(map[int]string)}
	var err error
	if c.Failed != "" {
		if o.failed, err = newAtomicFile(c.Failed); err != nil {
			return nil, err
		}
	}
	if o.recorder, err = c.newRecorder(ctx, out, reportHeader{Lists: c.Lists, Dir: c.Dir, Shard: c.Shard.String(), Run: c.shardRun()}); err != nil {
		o.failed.abort()
		return nil, err
	}
	return o, nil
}

// abort discards the files of --failed and --report, because the run did not begin, or
// because it begins again with reread lists.
func (o *mirrorRecorder) abort() {
	o.failed.abort()
	o.recorder.abort()
	o.out.printRepeats()
}

// counts returns the numbers of files for the display, and updates the expected number. A
// pending file counts as failed here: it is missing, and nothing is running for it.
func (o *mirrorRecorder) counts() fileCounts {
	c := o.run.Counts()
	o.show.setFiles(c.Listed, !c.Read)
	return fileCounts{fetched: c.Fetched, current: c.Current, unchanged: c.Unchanged, failed: c.Failed + c.Pending}
}

// outcome records the outcome of one file. A file that failed and will be tried in another
// round has none yet, so each file comes here once.
func (o *mirrorRecorder) outcome(x mirror.Outcome) {
	switch x.State {
	case mirror.Failed:
		code := exitCode(x.Err)
		o.codes[code]++
		o.hints[code] = cmp.Or(o.hints[code], o.hint(x))
		o.printFailure(x)
		o.hooks.push(hookFile{x.Path, x.URL, -1, x.Record.ID, x.Err})
	case mirror.Fetched:
		if x.Result.Page {
			o.pages++
		}
		o.hooks.push(hookFile{x.Path, x.URL, x.Result.Size, x.Result.ID, nil})
	case mirror.Wanted:
		o.out.note("%s: would be fetched", o.show.name(x.Path))
	case mirror.Pruned:
		verb := map[bool]string{true: "would be deleted", false: "deleted"}[o.cmd.DryRun]
		o.out.note("%s: %s, because the lists no longer name it", o.show.name(x.Path), verb)
	}
	if x.State == mirror.Failed || x.State == mirror.Pending {
		o.writeFailed(x.Entry)
	}
	file := reportEntry(x)
	o.report.addFile(file)
	// The downloader has emitted an event for a fetched or unchanged file. Current files have
	// no event at all, because a list may have millions of them.
	if x.State != mirror.Fetched && x.State != mirror.Current && x.State != mirror.Unchanged {
		o.jsonEvent("outcome", "file", file.forJSON())
	}
}

// hint returns a hint for a failed file that is more exact than the hint for its exit code, or "".
func (o *mirrorRecorder) hint(x mirror.Outcome) string {
	origin := downloader.Origin(x.URL)
	f := hintSubject{err: x.Err, begun: x.Record.Credentials, given: o.headers.forList(x.Entry.List, origin).Options}
	isGeneral := func(option string) bool { return !isForHost(option) }
	if o.headers.isWithheld(x.Entry.List, origin) && slices.ContainsFunc(f.begun, isGeneral) {
		f.begun = append(slices.Clone(f.begun), "--headers-everywhere")
	}
	return f.hint(listHints)
}

// printFailure prints the error of a failed file. There is no line of its own for a file that was
// not tried, because the reason is the same for all files of the host.
func (o *mirrorRecorder) printFailure(x mirror.Outcome) {
	m := message{level: "error", host: downloader.Origin(x.URL), text: x.Err.Error(), line: printable(fmt.Sprintf("%q: %v", weburl.Redact(x.URL), x.Err)), most: maxAlike}
	if mirror.WasNotTried(x.Err) {
		m.most = 0
	}
	if o.out.admits(m) {
		o.out.line("pawl: error: %s", m.line)
	}
}

// jsonEvent prints an event of --json that is not an event of the downloader. v is the
// value of the key name.
func (o *mirrorRecorder) jsonEvent(kind, name string, v any) {
	if o.show.json {
		now := time.Now()
		o.show.enqueue(func() { o.show.writeJSON(map[string]any{"event": kind, "time": now, name: v}) })
	}
}

// writeFailed adds an entry to the list of --failed.
func (o *mirrorRecorder) writeFailed(e list.Entry) {
	if o.failed != nil {
		list.Write(o.failed, e) // commit returns the error
	}
}

// reportEntry returns the entry of an outcome in the report.
func reportEntry(x mirror.Outcome) reportFile {
	f := reportFile{
		Path: x.Path, URL: weburl.WithoutUser(x.URL), FinalURL: x.Result.Final, Outcome: reportOutcome(x.State), Size: -1,
		Fetched: x.Result.Fetched, Seconds: x.Result.Elapsed.Seconds(), Retries: x.Result.Retries, Rounds: x.Rounds,
		List: x.Entry.List, Line: x.Entry.Line,
	}
	switch x.State {
	case mirror.Fetched, mirror.Unchanged:
		f.Size, f.Sum, f.CRC32C, f.Complete = knownSize(x.Result.Size), x.Result.Sum.String(), crcText(x.Result.CRC), completeText(x.Result.Unframed)
		f.Page, f.Proof = x.Result.Page, string(x.Result.Proof)
	case mirror.Current, mirror.Pruned:
		f.Size, f.Sum, f.CRC32C, f.Complete = knownSize(x.Record.Size), x.Record.Sum.String(), crcText(x.Record.CRC), completeText(x.Record.Unframed)
		f.Page, f.Proof = downloader.IsUnexpectedPage(x.Record), string(currentProof(x))
	}
	if x.Err != nil {
		f.Error = x.Err.Error()
	}
	if x.State == mirror.Failed { // for a pending file, x.Err has lost its kind and has only the text
		f.Exit = exitCode(x.Err)
	}
	return f
}

// currentProof returns how a file that was here before the run is proved.
func currentProof(x mirror.Outcome) downloader.Proof {
	if x.SumBy != "" && x.Entry.Sum == x.Record.Sum {
		return x.SumBy
	}
	return downloader.ProofOf(x.Record.Sum, true)
}

// completeText returns the value of "complete" in a report. It is "unknown" if the server
// did not mark the end of the file, because the file may be truncated then.
func completeText(unframed bool) string {
	if unframed {
		return "unknown"
	}
	return ""
}

// crcText returns a CRC-32C in hex, or "" for 0, which means unknown.
func crcText(crc uint32) string {
	if crc == 0 {
		return ""
	}
	return fmt.Sprintf("%08x", crc)
}

// problem records an unusable line, or an unreadable list. Neither stops the run: the other
// lines and lists are still used. An unusable line has exit code 2, whatever its error is,
// and no hint, because the text names the line. A warning is only printed, or counted if it
// needs no action.
//
// Of several shards only the first one reports all that. The others only report a list that they
// cannot read, because their own files are missing then.
func (o *mirrorRecorder) problem(err error) {
	var p *list.Problem
	var mirrors *list.IgnoredMirrors
	isEmpty := errors.As(err, new(emptyListError))
	if !o.cmd.reportsLists() && (errors.As(err, &p) || isEmpty) {
		return
	}
	m := message{level: "error", text: err.Error(), line: printable(err.Error()), most: maxAlike}
	entry := reportProblem{Error: err.Error()}
	advice := ""
	switch isLine := errors.As(err, &p); {
	case isLine && p.Warning && errors.As(err, &mirrors) && mirrors.OtherScheme:
		o.mirrors += mirrors.N
		return
	case isLine && p.Warning:
		m.level, m.text = "warning", p.Err.Error()
		if o.out.admits(m) {
			o.out.warn("%s", m.line)
		}
		return
	case isLine:
		o.listCodes[2]++
		entry = reportProblem{List: p.List, Line: p.Line, Error: p.Err.Error()}
		m.text = p.Err.Error()
	default:
		o.listCodes[exitCode(err)]++
		if isEmpty {
			o.empty++
		} else {
			o.unread++
		}
		advice = hint(err, "")
	}
	if o.out.admits(m) {
		o.out.report(err, advice)
	}
	o.report.addProblem(entry)
	o.jsonEvent("problem", "problem", entry.forJSON())
}

// rest prints that a host rests, if that concerns any files.
func (o *mirrorRecorder) rest(x mirror.Rest) {
	if x.Files > 0 {
		o.out.note("%q has failed too often in a row (%s); %s from there %s not tried in this round", weburl.Redact(x.Host), printable(x.Err.Error()), fileCountText(x.Files), isOrAre(x.Files))
	}
}

// isOrAre returns the verb for n things.
func isOrAre(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

// round prints that the failed files will be tried again in round n, after wait.
func (o *mirrorRecorder) round(n, files int, wait time.Duration) {
	o.out.note("%s failed; retrying %s (round %d of %d)", fileCountText(files), delayText(wait), n, o.cmd.Rounds)
}

// fileCountText returns "1 file" or, for example, "3 files".
func fileCountText(n int) string {
	if n == 1 {
		return "1 file"
	}
	return fmt.Sprintf("%d files", n)
}

// finish completes a run. err is the error that ended it, or nil. The returned error has the
// exit code, and has been reported. The steps, in order:
//
//  1. Wait for the hooks, so that the report does not say "ended" while they still run. Print
//     how many messages were hidden.
//  2. Report err, so that its exit code is part of the summary.
//  3. Commit the files of --failed and --report. A failure here changes the exit code, but it
//     can no longer be in the report itself.
//  4. Print the summary and, last, the hint with the next command.
//
// The display must have been stopped before, because finish writes to stdout itself.
func (o *mirrorRecorder) finish(ctx context.Context, g *Globals, err error) error {
	o.hooks.close()
	o.out.printRepeats()
	if o.mirrors > 0 {
		o.out.note("mirrors in the lists that are not http or https, and are not used: %d", o.mirrors)
	}
	if n := o.run.Counts().Clashes; n > 0 {
		o.out.note("files with the same name in their URLs as others, which have a number or a query in their names: %d; --tree keeps directories", n)
	}
	if n := o.run.Counts().LeftOut; n > 0 {
		o.out.note("%s that earlier runs fetched %s left out by --depth, --include or --exclude now, and %s kept", fileCountText(n), isOrAre(n), isOrAre(n))
	}
	if errors.Is(err, mirror.ErrNotPruned) {
		o.out.warn("%s", err)
		err = nil
	} else if gone := o.run.Counts().Gone; gone > 0 && err == nil && o.cmd.Prune {
		o.out.note("pruned in spite of %s that %s not there, as the server says (HTTP error 404 or 410); the list still names them, so what is here of them is kept", fileCountText(gone), isOrAre(gone))
	}
	if err == nil {
		err = context.Cause(ctx) // a signal may have come while the last hooks ran
	}
	s := o.summary(err)
	if ctx.Err() == nil && err != nil { // a signal or deadline is reported at the end, with its hint
		o.out.report(err, hint(err, ""))
	}
	for _, closeErr := range []error{o.failed.commit(), o.report.close(s)} {
		if closeErr != nil {
			o.out.report(closeErr, hint(closeErr, ""))
			s.Exit = worstCode(map[int]int{s.Exit: 1, exitCode(closeErr): 1})
		}
	}
	for _, line := range summaryLines(s) {
		o.out.note("%s", line)
	}
	if o.pages > 0 {
		o.out.warn("%s", pagesLine(o.pages))
	}
	if g.JSON {
		o.show.writeJSON(map[string]any{"event": "summary", "time": time.Now(), "summary": s})
	}
	if ctx.Err() != nil {
		o.out.report(context.Cause(ctx), o.interrupted())
	} else if next := o.finalHint(); next != "" && o.cmd.Every == 0 {
		o.out.line("pawl: hint: %s", next)
	}
	if s.Exit == 0 {
		return nil
	}
	return reportedError{exitCodeError(s.Exit)}
}

// pagesLine returns the warning for n fetched files that are unexpected web pages.
func pagesLine(n int) string {
	files := map[bool]string{true: "1 fetched file is a web page, although its name does", false: fmt.Sprintf("%d fetched files are web pages, although their names do", n)}[n == 1]
	return files + " not say so; --report marks them, and --expect '!text/html' makes them errors"
}

// finalHints says how to proceed after failures with an exit code, in the summary of a run.
var finalHints = map[int]string{
	3:  "check these paths, then " + runAgain,
	6:  "send credentials with -H 'HOST=Authorization: …', with a line header=Authorization: … below the URL in the list, or, if you trust the list, to all its hosts with --headers-everywhere and -u USER or a netrc file",
	8:  "fix these URLs in the lists, or " + runAgain,
	9:  "free some space, then " + runAgain,
	13: "move these files away, replace them with --overwrite, take them with --adopt if they are the wanted ones, or continue them with -c if they are parts of these",
	32: "fix these digests in the lists, or " + runAgain,
}

// runAgain is the hint for all other exit codes.
const runAgain = "run the same command again: it only requests missing files"

// finalHint returns the hint for the worst of the failures, or "" if no file failed.
func (o *mirrorRecorder) finalHint() string {
	code := worstCode(o.codes)
	if code == 0 {
		return ""
	}
	return cmp.Or(o.hints[code], finalHints[code], runAgain)
}

// summary returns the summary of a run that err has ended, if err is not nil. Its exit code
// is the worst of all failed files, unusable lines, unreadable lists and err.
func (o *mirrorRecorder) summary(err error) summary {
	c := o.run.Counts()
	codes := maps.Clone(o.codes)
	problems := 0 // less than c.Problems, if another shard reports some
	for code, n := range o.listCodes {
		codes[code] += n
		problems += n
	}
	if err != nil {
		codes[exitCode(err)]++
	}
	return summary{
		Files: c.Listed, Fetched: c.Fetched, Current: c.Current, Unchanged: c.Unchanged, Failed: c.Failed, Pending: c.Pending + c.Wanted,
		Pruned: c.Pruned, Problems: problems, More: !c.Read, Bytes: c.Bytes, Seconds: time.Since(o.started).Seconds(), Exit: worstCode(codes), Failures: o.codes,
		Mirrors: o.mirrors, Unread: o.unread, Empty: o.empty, DryRun: o.cmd.DryRun, Shard: o.cmd.Shard.String(),
	}
}
