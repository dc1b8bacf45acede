package downloader

// This file is about servers that refuse requests with a Range field, and would serve
// the same requests without it.

import (
	"cmp"
	"context"
	"errors"
	"net/http"

	"pawl/chunk"
	"pawl/downloader/failure"
)

// A rangeError is the failure of a request that may be about its Range field.
type rangeError struct{ error }

// errAskAgain says that the same request may be sent again.
var errAskAgain = errors.New("ask again")

// brokenOffTries is how often a server may break off without an answer before that is
// taken for its answer to the Range field. It may just be restarting.
const brokenOffTries = 3

// mayRefuseRange reports whether the failure of a request for r, which has failed so many
// times, may be about the Range field. That is asked once, at the first byte, and only
// as long as no range has worked on the host, so that a missing file of a list does not
// cost two requests. A download that began without ranges asks at any byte.
func (j *job) mayRefuseRange(r chunk.Range, failures int, err error) bool {
	begun := r.Off > 0 && (j.part == nil || !j.part.Record().NoRanges)
	if r.Empty() || begun || j.plain || j.host.rangeUse() > rangesDoubted {
		return false
	}
	if failure.MayRefuseRange(err) {
		return true
	}
	return failures >= brokenOffTries && failure.IsBrokenOff(err)
}

// askPlain asks dest once without a Range field, because a request with one has failed. A
// host that serves that is not asked for ranges any more. If both failures may pass, they
// count as two tries, and the error is errAskAgain as long as there are tries left.
func (j *job) askPlain(ctx context.Context, dest destination, failed error) (*reply, error) {
	j.plain = true
	again, err := j.tryAgain(ctx, failed)
	if err != nil {
		return nil, err
	}
	to := j.first(dest)
	to.judge = func(*http.Response, error) (verdict, error) { return verdict{}, nil }
	rep, err := j.askOnce(ctx, to, nil, chunk.Range{})
	if err == nil {
		if err = j.compare(rep, chunk.Range{}); err != nil {
			rep.close()
		}
	}
	if err == nil {
		j.resolved(dest, rep.leadsTo())
		j.host.rangeFailed(!failure.IsPermanent(failed))
		if final := j.d.host(rep.Request.URL); final != j.host {
			final.rangeFailed(!failure.IsPermanent(failed))
		}
		j.answers.Add(1)
		return rep, nil
	}
	if ctx.Err() != nil || failure.IsPermanent(err) || !again {
		return nil, err
	}
	if again, sleepErr := j.tryAgain(ctx, err); sleepErr != nil || !again {
		return nil, cmp.Or(sleepErr, err)
	}
	return nil, errAskAgain
}

// tryAgain counts a failure that may pass, and waits before the next try, if there is one.
// A failure that does not pass costs nothing.
func (j *job) tryAgain(ctx context.Context, failed error) (again bool, err error) {
	if failure.IsPermanent(failed) {
		return true, nil
	}
	wait, again := j.setback(failed)
	if !again {
		return false, nil
	}
	return true, sleep(ctx, wait)
}
