package downloader

// This file is about bytes as proof: where validators do not tell whether the
// server still has the version of which bytes are held, some of them are fetched
// again and compared.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"

	"pawl/chunk"
	"pawl/downloader/failure"
)

const (
	sampleBytes  = 16 << 10 // of one sample
	moreSamples  = 2        // besides the first and the last
	compareBytes = 256 << 10
)

// errOtherBytes says that the server has other bytes than are held, and errWhole
// that it sends whole files, which are compared as they come.
var (
	errOtherBytes = restartError{why: "the server has other bytes where some were compared"}
	errWhole      = restartError{why: "the server sends whole files", single: true, keep: true}
)

// prove compares samples of held with the server's bytes. It returns nil if they
// are the same, errOtherBytes if not, and errWhole if the server sends no samples.
func (j *job) prove(ctx context.Context, held chunk.Set) error {
	for _, r := range samples(held) {
		if err := j.proveSample(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// proveSample compares one sample.
func (j *job) proveSample(ctx context.Context, r chunk.Range) error {
	for {
		rep, err := j.ask(ctx, nil, r)
		if err != nil {
			return err
		}
		if rep.whole {
			rep.close()
			return errWhole
		}
		got := make([]byte, r.Intersect(rep.body).Len())
		_, err = io.ReadFull(pacedReader{ctx, j, rep.Body}, got)
		rep.close()
		if err == nil {
			held := make([]byte, len(got))
			if _, err := j.part.ReadAt(held, r.Off); err != nil {
				return failure.Permanent(err)
			}
			if !bytes.Equal(got, held) {
				return errOtherBytes
			}
			return nil
		}
		wait, again := j.setback(failure.ExplainBody(noEOF(err)))
		if !again {
			return failure.ExplainBody(noEOF(err))
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// samples chooses which bytes of held to compare: the first, the last, and some
// at random.
func samples(held chunk.Set) []chunk.Range {
	n := held.Len()
	starts := []int64{0, max(0, n-sampleBytes)}
	for range moreSamples {
		starts = append(starts, rand.Int64N(max(1, n-sampleBytes)))
	}
	var all []chunk.Range
	var chosen chunk.Set
	for _, nth := range starts {
		r := nthBytes(held, nth, sampleBytes)
		if !chosen.Contains(r) {
			all = append(all, r)
			chosen.Add(r)
		}
	}
	return all
}

// nthBytes returns up to n bytes of s in one piece, from the one that has nth
// below it on.
func nthBytes(s chunk.Set, nth, n int64) chunk.Range {
	for r := range s.All() {
		if nth < r.Len() {
			return chunk.Range{Off: r.Off + nth, End: min(r.End, r.Off+nth+n)}
		}
		nth -= r.Len()
	}
	return chunk.Range{}
}

// proveAgain is prove for a server whose validators do not promise equal bytes,
// when all is there: the file may have changed between two requests. What was
// fetched first is always among the samples. That the server cannot be asked any
// more proves nothing.
func (j *job) proveAgain(ctx context.Context) error {
	sure := j.id.strongETag() != "" && !j.untagged.Load()
	resumed := j.isResumed()
	if sure && j.part != nil && j.part.Record().Mixed && j.sum.IsZero() {
		sure = !resumed // what mirrors have given to this run is compared by itself
	}
	if j.part == nil || sure || j.answers.Load() < 2 && !resumed || j.pool != nil && j.part.Record().NoRanges {
		return nil
	}
	asking, cancel := j.soon(ctx, 2+moreSamples)
	defer cancel()
	err := j.enter(asking, j.host)
	if err == nil {
		err = j.prove(asking, chunk.NewSet(chunk.Range{End: j.id.size}))
		j.leave()
	}
	var again restartError
	if errors.As(err, &again) && !again.keep || ctx.Err() != nil {
		return err
	}
	return nil
}

// soon limits how long so many samples may take: all is there, and need not wait long.
func (j *job) soon(ctx context.Context, samples int) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, 2*j.d.opts.StallTimeout+j.d.transport.RequestTime(2*samples))
}

// agree reads as much of the body of rep, a whole file, as is held, and
// compares. Where it differs, the rest of what is held is given up, and the
// download is of the version of rep from then on. rep is left at the first
// byte that is missing.
func (j *job) agree(ctx context.Context, rep *reply) error {
	held := j.pool.prefix()
	body := pacedReader{ctx, j, rep.Body}
	if s, ok := j.sink.(*streamSink); ok {
		same, err := s.agrees(body)
		if err != nil {
			return failure.ExplainBody(noEOF(err))
		}
		if !same {
			return errOtherBytes
		}
		return nil
	}
	if lost, err := j.recheck(ctx); err != nil {
		return err
	} else if lost > 0 { // or damage here would look like a change there
		return errDamaged
	}
	same, rest, err := j.compareHeld(body, held)
	if err != nil {
		return err
	}
	rec := j.part.Record()
	beyond := rec.Held.Len() - held
	if beyond > 0 && held == 0 { // nothing could be compared
		switch differs := j.id.differs(rep.id); {
		case j.id.impostor(rep.id):
			return errImpostor
		case j.moved:
			return restartError{why: "the server sends it from the start only, of which nothing is held"}
		case differs != "" && j.req.FailOnChange:
			return restartError{why: differs}
		}
	}
	if beyond > 0 && same == held {
		j.emit(Event{Kind: Warning, Err: fmt.Errorf("the server sends it from the start only; %d bytes that are held are fetched again", beyond)})
		if err := j.part.Cut(held); err != nil {
			return failure.Permanent(err)
		}
	}
	if same < held && j.id.impostor(rep.id) {
		return errImpostor
	}
	if same < held {
		if err := j.giveUp(same, held); err != nil {
			return err
		}
		rep.Body = readCloser{io.MultiReader(bytes.NewReader(rest), rep.Body), rep.Body}
		j.fetched.Add(-int64(len(rest))) // counted again when it is read
	}
	was := j.id
	if j.id = rep.id; j.id.size < 0 {
		j.id.size = was.size
	}
	return j.adopt(rep.answer)
}

type readCloser struct {
	io.Reader
	io.Closer
}

// compareHeld compares the next held bytes of body with the part file. It
// returns how many are the same, and what it has read beyond them.
func (j *job) compareHeld(body io.Reader, held int64) (same int64, rest []byte, err error) {
	got, have := make([]byte, compareBytes), make([]byte, compareBytes)
	for same < held {
		n, err := readFull(body, got[:min(compareBytes, held-same)])
		if _, err := j.part.ReadAt(have[:n], same); err != nil && !errors.Is(err, io.EOF) {
			return 0, nil, failure.Permanent(err)
		}
		for i := range n {
			if got[i] != have[i] {
				return same + int64(i), got[i:n], nil
			}
		}
		same += int64(n)
		switch {
		case err == nil:
		case err == io.EOF && j.id.size < 0: // it ends here now
			return same, nil, nil
		default:
			return 0, nil, failure.ExplainBody(noEOF(err))
		}
	}
	return same, nil, nil
}

// readFull is io.ReadFull that tells the body's own error: only io.EOF is an end.
func readFull(r io.Reader, b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var k int
		k, err = r.Read(b[n:])
		n += k
	}
	if n == len(b) {
		err = nil
	}
	return n, err
}

// giveUp gives up what is held from off on, because the server has other bytes.
func (j *job) giveUp(off, held int64) error {
	if j.moved || j.req.FailOnChange {
		return errOtherBytes
	}
	j.emit(Event{Kind: Restarted, Held: held - off, Err: errOtherBytes})
	if err := j.part.Cut(off); err != nil {
		return failure.Permanent(err)
	}
	j.pool.lose(off)
	j.gaveUp = true
	j.have.Store(off)
	return nil
}

// errDamaged says that something of what was held has been found to be damaged,
// and is no longer held.
var errDamaged = restartError{why: "some of what was held is damaged", keep: true}

// recheck reads again what is held of a part file that was touched since the
// last commit, and returns how many bytes are no longer what was recorded.
func (j *job) recheck(ctx context.Context) (lost int64, err error) {
	if j.part == nil || !j.part.Dirty() {
		return 0, nil
	}
	for i, more := 0, true; more; i++ {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		var n int64
		if n, more, err = j.part.VerifyNext(i); err != nil {
			return 0, failure.Permanent(err)
		}
		lost += n
	}
	if lost > 0 {
		j.setEarlier(contribution{}) // it is not known which of its bytes are left
		j.emit(Event{Kind: Lost, Held: lost})
	}
	return lost, nil
}
