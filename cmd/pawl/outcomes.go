package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"pawl/downloader"
	"pawl/downloader/list"
	"pawl/downloader/mirror"
)

// outcomes are what becomes of the files of lists: told, counted, reported, and
// kept as a list of what is not here. Its functions are called one at a time.
type mirrorRecorder struct {
	*recorder
	cmd       *MirrorCmd
	out       *printer
	show      *display
	run       *mirror.Run
	failed    *atomicFile
	codes     map[int]int // exit codes of files that failed, and how many have each
	listCodes map[int]int // the same of lines of the lists, and of lists that cannot be read
	unread    int         // those lists

	hints map[int]string // by exit code: of the first of these files with a hint of its own
}

func (c *MirrorCmd) newMirrorRecorder(ctx context.Context, say *printer) (*mirrorRecorder, error) {
	o := &mirrorRecorder{cmd: c, out: say, codes: make(map[int]int), listCodes: make(map[int]int), hints: make(map[int]string)}
	var err error
	if c.Failed != "" {
		if o.failed, err = newAtomicFile(c.Failed); err != nil {
			return nil, err
		}
	}
	if o.recorder, err = c.newRecorder(ctx, say, reportHeader{Lists: c.Lists, Dir: c.Dir}); err != nil {
		o.failed.abort()
		return nil, err
	}
	return o, nil
}

// abort ends what was begun without a run, or one that is begun again.
func (o *mirrorRecorder) abort() {
	o.failed.abort()
	o.recorder.abort()
}

// counts is for the display.
func (o *mirrorRecorder) counts() fileCounts {
	c := o.run.Counts()
	o.show.setFiles(c.Listed, !c.Read)
	return fileCounts{fetched: c.Fetched, current: c.Current, unchanged: c.Unchanged, failed: c.Failed + c.Pending}
}

// outcome takes how one file ended.
func (o *mirrorRecorder) outcome(x mirror.Outcome) {
	switch x.State {
	case mirror.Failed:
		code := exitCode(x.Err)
		o.codes[code]++
		o.hints[code] = cmp.Or(o.hints[code], optionHint(x.Err))
		o.out.line("pawl: error: %s", printable(fmt.Sprintf("%q: %v", downloader.RedactURL(x.URL), x.Err)))
		o.hooks.push(hookFile{x.Path, x.URL, -1, x.Record.ID, x.Err})
	case mirror.Fetched:
		o.hooks.push(hookFile{x.Path, x.URL, x.Result.Size, x.Result.ID, nil})
	case mirror.Wanted:
		o.out.note("%s: would be fetched", o.show.name(x.Path))
	case mirror.Pruned:
		verb := map[bool]string{true: "would be deleted", false: "deleted"}[o.cmd.DryRun]
		o.out.note("%s: %s, as the lists no longer name it", o.show.name(x.Path), verb)
	}
	if x.State == mirror.Failed || x.State == mirror.Pending {
		o.writeFailed(x.Entry)
	}
	file := reportEntry(x)
	o.report.addFile(file)
	if x.State != mirror.Fetched && x.State != mirror.Current && x.State != mirror.Unchanged { // of which the engine tells, or there may be millions
		o.jsonEvent("outcome", "file", file.forJSON())
	}
}

// event tells --json what the engine does not know.
func (o *mirrorRecorder) jsonEvent(kind, name string, v any) {
	if o.show.json {
		now := time.Now()
		o.show.enqueue(func() { o.show.writeJSON(map[string]any{"event": kind, "time": now, name: v}) })
	}
}

// keep writes what is not here to the list of --failed, with a path that does not
// depend on where that is read.
func (o *mirrorRecorder) writeFailed(e list.Entry) {
	if o.failed != nil {
		list.Write(o.failed, e) // commit tells what went wrong
	}
}

// reported is the form of x in a report.
func reportEntry(x mirror.Outcome) reportFile {
	f := reportFile{
		Path: x.Path, URL: downloader.WithoutUser(x.URL), FinalURL: x.Result.Final, Outcome: reportOutcome(x.State), Size: -1,
		Fetched: x.Result.Fetched, Seconds: x.Result.Elapsed.Seconds(), Retries: x.Result.Retries, Rounds: x.Rounds,
		List: x.Entry.List, Line: x.Entry.Line,
	}
	switch x.State {
	case mirror.Fetched, mirror.Unchanged:
		f.Size, f.Sum, f.CRC32C, f.Complete = knownSize(x.Result.Size), x.Result.Sum.String(), crcText(x.Result.CRC), completeText(x.Result.Unframed)
	case mirror.Current, mirror.Pruned:
		f.Size, f.Sum, f.CRC32C, f.Complete = knownSize(x.Record.Size), x.Record.Sum.String(), crcText(x.Record.CRC), completeText(x.Record.Unframed)
	}
	if x.Err != nil {
		f.Error = x.Err.Error()
	}
	if x.State == mirror.Failed { // of a file that waited for another round only the words are left
		f.Exit = exitCode(x.Err)
	}
	return f
}

// complete is the field of that name, which only says what is not known.
func completeText(unframed bool) string {
	if unframed {
		return "unknown"
	}
	return ""
}

func crcText(crc uint32) string {
	if crc == 0 {
		return ""
	}
	return fmt.Sprintf("%08x", crc)
}

// problem takes what is wrong with a list.
func (o *mirrorRecorder) problem(err error) {
	var p *list.Problem
	told := reportProblem{Error: err.Error()}
	switch isLine := errors.As(err, &p); {
	case isLine && p.Warning:
		o.out.warn("%s", printable(err.Error()))
		return
	case isLine:
		o.listCodes[2]++
		told = reportProblem{List: p.List, Line: p.Line, Error: p.Err.Error()}
		o.out.report(err, "")
	default:
		o.listCodes[exitCode(err)]++
		o.unread++
		o.out.report(err, hint(err, ""))
	}
	o.report.addProblem(told)
	o.jsonEvent("problem", "problem", told.forJSON())
}

// round takes that files are tried again.
func (o *mirrorRecorder) round(n, files int, wait time.Duration) {
	o.out.note("%s failed, and %s tried again %s (round %d of %d)", fileCountText(files), map[bool]string{true: "is", false: "are"}[files == 1], delayText(wait), n, o.cmd.Rounds)
}

func fileCountText(n int) string {
	if n == 1 {
		return "1 file"
	}
	return fmt.Sprintf("%d files", n)
}

// end tells the end of a run, which err ended if it is not nil.
func (o *mirrorRecorder) finish(ctx context.Context, g *Globals, err error) error {
	o.hooks.close()
	if errors.Is(err, mirror.ErrNotPruned) {
		why := err.Error()
		if c := o.run.Counts(); c.Listed+c.Problems == 0 {
			why = "nothing is pruned, as the lists name no files"
		}
		o.out.warn("%s", why)
		err = nil
	}
	if err == nil {
		err = context.Cause(ctx) // while hooks ran
	}
	s := o.summary(err)
	if ctx.Err() == nil && err != nil {
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
	if g.JSON {
		o.show.writeJSON(map[string]any{"event": "summary", "time": time.Now(), "summary": s})
	}
	if ctx.Err() != nil {
		o.out.report(context.Cause(ctx), "what has arrived is kept; run the same command again to go on")
	} else if next := o.finalHint(); next != "" && o.cmd.Every == 0 {
		o.out.line("pawl: hint: %s", next)
	}
	if s.Exit == 0 {
		return nil
	}
	return reportedError{exitCodeError(s.Exit)}
}

// next says what to type where files are missing, "" if none is.
func (o *mirrorRecorder) finalHint() string {
	again := "run the same command again: it asks only for what is missing"
	code := worstCode(o.codes)
	if o.hints[code] != "" {
		return o.hints[code]
	}
	switch code {
	case 0:
		return ""
	case 9:
		return "free some space, then " + again
	case 13:
		return "move these files away, or replace them with --overwrite"
	case 6:
		return "give credentials with -H 'HOST=Authorization: …', or a line header=Authorization: … beneath the URL in the list"
	case 8:
		return "mend these addresses in the lists, or " + again
	case 3:
		return "see to these paths, then " + again
	case 32:
		return "mend these digests in the lists, or " + again
	default:
		return again
	}
}

// summary says how a run ended.
func (o *mirrorRecorder) summary(err error) summary {
	c := o.run.Counts()
	codes := make(map[int]int)
	for _, of := range []map[int]int{o.codes, o.listCodes} {
		for code, n := range of {
			codes[code] += n
		}
	}
	if err != nil {
		codes[exitCode(err)]++
	}
	return summary{
		Files: c.Listed, Fetched: c.Fetched, Current: c.Current, Unchanged: c.Unchanged, Failed: c.Failed, Pending: c.Pending + c.Wanted,
		Pruned: c.Pruned, Problems: c.Problems, More: !c.Read, Bytes: c.Bytes, Seconds: time.Since(o.started).Seconds(), Exit: worstCode(codes), Failures: o.codes,
		Unread: o.unread, DryRun: o.cmd.DryRun,
	}
}

// A codeError is an exit code, and nothing more to say.
type exitCodeError int

func (e exitCodeError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }
