package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"pawl/chunk"
	"pawl/downloader"
	"pawl/downloader/failure"
	"pawl/downloader/weburl"
	"pawl/store"
)

// largeFile is the size from which a file is read alone, in bytes. The disk reads one large file
// faster than two at once, if it is a spinning one; two cores are busy with one large file anyway.
// With half, more files wait for each other; with double, four files of this size keep a disk
// seeking for longer.
const largeFile = 64 << 20

// maxShownRanges is how many wrong ranges of a file a message names. More do not fit into a few
// lines; --json has all.
const maxShownRanges = 8

// A verification reads files and compares them. Its fields are for the goroutines of run; after run,
// for its caller.
type verification struct {
	cmd     *VerifyCmd
	globals *Globals
	out     *printer
	checker downloader.Checker
	large   chan struct{} // has a token for each large file that is being read
	begun   time.Time

	mu      sync.Mutex
	listed  int         // files that were found; guarded by mu, as all below
	total   int64       // bytes of them
	name    string      // of a file that is being read
	right   int         // files
	partial int         // of right: unfinished
	unknown int         // files with nothing to compare with
	damaged []damaged   // files that are wrong or missing, and can be repaired
	wrong   int         // files
	missing int         // files
	codes   map[int]int // failures by exit code
}

// A damaged is a file that can be repaired.
type damaged struct {
	rec   store.Record
	wrong chunk.Set
	sum   chunk.Sum // digest of the command line or of a list; zero for none
	named bool      // as in wanted
	right bool      // nothing is wrong; it is only unfinished
}

func newVerification(c *VerifyCmd, g *Globals, out *printer, st *store.Store) *verification {
	return &verification{
		cmd: c, globals: g, out: out, checker: downloader.Checker{Store: st}, begun: time.Now(),
		large: make(chan struct{}, max(1, c.Jobs)), codes: make(map[int]int),
	}
}

// run verifies the files: as many small ones at once as there are cores, and large ones one by one.
// An error of the sequence is reported and counted, and the next files follow.
func (v *verification) run(ctx context.Context, files iter.Seq2[wanted, error]) error {
	stop := v.showProgress()
	defer stop()
	queue := make(chan wanted, 256)
	var workers sync.WaitGroup
	for range cmp.Or(v.cmd.Jobs, runtime.GOMAXPROCS(0)) {
		workers.Go(func() {
			for w := range queue {
				if ctx.Err() == nil {
					v.verify(ctx, w)
				}
			}
		})
	}
	for w, err := range files {
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			v.fail(err)
			continue
		}
		n := v.bytesOf(w.rec)
		v.mu.Lock()
		v.listed++
		v.total += n
		v.mu.Unlock()
		queue <- w
	}
	close(queue)
	workers.Wait()
	return nil
}

// bytesOf returns how many bytes of a file are going to be read, about.
func (v *verification) bytesOf(rec store.Record) int64 {
	if isUnfinished(rec) {
		return rec.Held.Len()
	}
	if rec.ID != "" {
		return rec.Size
	}
	seen, _ := v.checker.Store.Stamp(rec.Target) // the zero stamp if there is no file
	return seen.Size
}

// verify reads one file, and reports the outcome.
func (v *verification) verify(ctx context.Context, w wanted) {
	if v.bytesOf(w.rec) >= largeFile {
		v.large <- struct{}{}
		defer func() { <-v.large }()
	}
	v.mu.Lock()
	v.name = filepath.Base(w.rec.Target)
	v.mu.Unlock()
	c, err := v.checker.Check(ctx, w.rec, w.sum)
	if ctx.Err() != nil {
		return
	}
	if errors.Is(err, store.ErrNoSums) {
		err = fmt.Errorf("%q: %w", relPath(w.rec.Target), errUnknownFile)
		if w.rec.ID != "" {
			err = fmt.Errorf("%q: no checksum of it is on record, and no digest of it is given: %w", relPath(w.rec.Target), errUnknownFile)
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.globals.JSON {
		v.printRow(w, c, err)
	}
	v.count(w, c, err)
}

// count counts the outcome of a file, and prints it unless the file is right. The caller must hold mu.
func (v *verification) count(w wanted, c downloader.Checked, err error) {
	name := relPath(w.rec.Target)
	switch {
	case errors.Is(err, errUnknownFile) && !w.named && w.rec.ID != "": // nobody has asked for this file in particular
		v.unknown++
		return
	case err != nil:
		v.failLocked(err)
		return
	case c.OK():
		v.right++
		if isUnfinished(w.rec) {
			v.partial++
			if w.named && !v.cmd.Repair {
				v.out.note("%q: the %s that are here are right; it is unfinished, and goes on with: pawl resume %s", name, size(c.Read), w.rec.ID)
			}
		}
		if isUnfinished(w.rec) && (w.named || w.rec.IsRepair()) {
			v.damaged = append(v.damaged, damaged{rec: w.rec, sum: w.sum, named: w.named, right: true})
		}
		return
	case c.Missing:
		v.missing++
		err = missingError{w.rec.Target}
	default:
		v.wrong++
		err = failure.New(failure.ErrChecksum, wrongText(name, w.rec, c))
	}
	if w.rec.ID != "" && w.rec.URL != "" {
		v.damaged = append(v.damaged, damaged{w.rec, c.Wrong, w.sum, w.named, false})
		if v.cmd.Repair { // the repair decides how that ends
			v.out.warn("%s", printable(err.Error()))
			return
		}
	}
	v.failLocked(err)
}

// wrongText returns the error of a file that is wrong.
func wrongText(name string, rec store.Record, c downloader.Checked) string {
	if c.Proof != downloader.ProofPieces {
		return fmt.Sprintf("%q: its bytes do not have the %s on record or in the list", name, c.Proof)
	}
	var ranges []string
	for r := range c.Wrong.All() {
		ranges = append(ranges, fmt.Sprintf("%d-%d", r.Off, r.End-1))
	}
	if n := len(ranges) - maxShownRanges; n > 0 {
		ranges = append(ranges[:maxShownRanges], fmt.Sprintf("and %d more ranges", n))
	}
	return fmt.Sprintf("%q: %s of %s are wrong, in bytes %s", name, size(c.Wrong.Len()), size(max(rec.Size, c.Size)), strings.Join(ranges, ", "))
}

// fail reports an error that concerns one argument or one file.
func (v *verification) fail(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.failLocked(err)
}

// failLocked is fail for a caller that holds mu.
func (v *verification) failLocked(err error) {
	v.codes[exitCode(err)]++
	if v.out.admits(message{level: "error", text: outcomeText(err), line: printable(err.Error()), most: maxAlike}) {
		advice := hint(err, "")
		if errors.Is(err, errUnknownFile) {
			advice = "give its digest with --checksum ALGO:HEX, or a file of digests with --checksums FILE"
		}
		v.out.report(err, advice)
	}
}

// outcomeText returns the text that all errors of a kind share, for the limit of repeated messages.
func outcomeText(err error) string {
	switch {
	case errors.As(err, new(missingError)):
		return "missing"
	case errors.Is(err, failure.ErrChecksum):
		return "wrong"
	}
	return err.Error()
}

// finish prints the summary, and returns the worst failure.
func (v *verification) finish() error {
	v.summarize()
	if len(v.codes) > 0 && len(v.damaged) > 0 {
		v.out.line("pawl: hint: to fetch what is wrong again, run the same command with --repair")
	}
	return v.result()
}

// result returns the worst of the failures, nil if there is none.
func (v *verification) result() error {
	if len(v.codes) == 0 {
		return nil
	}
	return reportedError{exitCodeError(worstCode(v.codes))}
}

// summarize prints how many files are right.
func (v *verification) summarize() {
	var parts []string
	for _, p := range []struct {
		n    int
		text string
	}{{v.wrong, "wrong"}, {v.missing, "missing"}, {v.unknown, "without a checksum on record, and not verified"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.text))
		}
	}
	n := v.right + v.wrong + v.missing + v.unknown
	if n == 0 {
		if len(v.codes) == 0 {
			v.out.note("there is nothing to verify")
		}
		return
	}
	took := time.Since(v.begun)
	read := fmt.Sprintf("%s read in %s (%s/s)", size(v.checker.Read()), took.Round(100*time.Millisecond), size(int64(float64(v.checker.Read())/max(took.Seconds(), 1e-3))))
	text := fmt.Sprintf("all %d files are right", n)
	switch {
	case v.partial == 1 && n == 1:
		text = "the bytes that are here are right"
	case v.right == 1 && n == 1:
		text = "the file is right"
	case n == 1:
		text = "the file is not right"
	case v.right < n:
		text = fmt.Sprintf("%d of %s %s right: %s", v.right, fileCountText(n), isOrAre(v.right), strings.Join(parts, ", "))
	}
	if v.partial > 0 && n > 1 {
		text += fmt.Sprintf(", %d of them unfinished", v.partial)
	}
	v.out.note("%s; %s", text, read)
}

// repair fetches the wrong bytes again. The error has the failures of the repair, and of the files that
// cannot be repaired.
func (v *verification) repair(ctx context.Context, st state) error {
	v.summarize()
	var typed []string
	for _, f := range v.damaged {
		if f.named || len(f.rec.Lists) == 0 {
			typed = append(append(typed, f.rec.URL), f.rec.Mirrors...)
		}
	}
	headers := v.cmd.originHeaders(typed...)
	var requests []downloader.Request
	for _, f := range v.damaged {
		public := f.rec.Public
		requests = append(requests, downloader.Request{
			URL: headers.requestURL(f.rec.URL), Into: downloader.Damaged{ID: f.rec.ID, Wrong: f.wrong}, Sum: cmp.Or(f.sum, f.rec.Sum),
			Access: downloader.Access{Credentials: headers.forTyped, Public: func(string) bool { return public }},
		})
		if !f.right {
			v.out.note("%q: fetching %s again from %s", relPath(f.rec.Target), size(f.wrong.Len()), weburl.Redact(f.rec.URL))
		}
	}
	err := (&batch{options: &v.cmd.Transfer, globals: v.globals, out: v.out, store: st, requests: requests, headers: headers}).run(ctx)
	if err != nil {
		v.codes[exitCode(err)]++
	}
	return v.result()
}

// proofSamples is the proof of an adopted file in verify --json.
const proofSamples = "samples"

// adopt takes the file of the command line into the state, if its bytes are the bytes of --url. A complete
// file becomes a finished download. The missing bytes of an incomplete one are fetched only with --repair.
func (v *verification) adopt(ctx context.Context, st state, d *downloader.Downloader, headers originHeaders) error {
	word := v.cmd.Files[0]
	path, err := filepath.Abs(word)
	if err != nil {
		return err
	}
	if rec, err := st.ByPath(path); err == nil {
		return usageErr{fmt.Errorf("%q is on record, with the URL %s; verify it without --adopt", word, weburl.Redact(rec.URL))}
	}
	req := downloader.Request{URL: headers.requestURL(v.cmd.URL), Sum: v.cmd.Checksum.Sum, MaxSize: int64(v.cmd.MaxSize), Access: downloader.Access{Credentials: headers.forTyped}}
	seen, _ := st.Stamp(path)
	rec, err := d.TakeOver(ctx, req, path)
	if v.globals.JSON && ctx.Err() == nil {
		w := wanted{rec: rec}
		w.rec.Target = cmp.Or(rec.Target, path)
		v.printRow(w, downloader.Checked{Path: path, Size: seen.Size, Proof: proofSamples}, err)
	}
	if err != nil {
		return err
	}
	if !v.cmd.Repair && rec.Held.Len() < rec.Size {
		v.out.note("%q is recorded; %s of %s are here, as far as samples show; it goes on with: pawl resume %s", relPath(rec.Target), size(rec.Held.Len()), size(rec.Size), rec.ID)
		return nil
	}
	req.Into = downloader.Recorded{ID: rec.ID}
	return (&batch{options: &v.cmd.Transfer, globals: v.globals, out: v.out, store: st, requests: []downloader.Request{req}, headers: headers}).run(ctx)
}

// showProgress draws a bar, if stderr is a terminal, until stop is called.
func (v *verification) showProgress() (stop func()) {
	s := newDisplay(v.out, displayOptions{bar: !v.globals.Quiet && !v.globals.JSON && !v.cmd.NoProgress, files: 1, counts: v.counts})
	s.start(verifyProgress{v, s})
	return s.stop
}

// A verifyProgress shows a verification as if it were a download of all its files.
type verifyProgress struct {
	v    *verification
	show *display
}

// Snapshot implements source.
func (p verifyProgress) Snapshot() []downloader.Progress {
	p.v.mu.Lock()
	defer p.v.mu.Unlock()
	p.show.setFiles(p.v.listed, false)
	if p.v.listed == 0 {
		return nil
	}
	return []downloader.Progress{{Target: p.v.name, Size: p.v.total, Have: min(p.v.checker.Read(), p.v.total), Conns: -1}}
}

// Received implements source.
func (p verifyProgress) Received() int64 { return p.v.checker.Read() }

// counts returns the numbers of files for the display.
func (v *verification) counts() fileCounts {
	v.mu.Lock()
	defer v.mu.Unlock()
	return fileCounts{fetched: v.right + v.unknown, failed: v.wrong + v.missing}
}
