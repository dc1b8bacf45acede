package main

// This file writes the report of a run of a fleet from its log, without the lists.

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"pawl/downloader/failure"
	"pawl/downloader/fleet"
	"pawl/downloader/list"
	"pawl/downloader/mirror"
)

// errNotEnded reports that a run has files whose outcome is not known yet.
var errNotEnded = errors.New("some files have not ended yet")

// A runReport writes the report of a run of a fleet.
type runReport struct {
	Report string // file, or "" for none
	Failed string // file for the list of failed files, or ""
	Wait   bool   // until everything has ended
}

// run writes the files and prints the summary of a run, as pawl mirror does at its end. The exit code is the same, too. Files that were
// there before the run are not in its log, and so not in the report. Of a file that has not ended, only the number is known.
func (r runReport) run(ctx context.Context, g *Globals, out *printer, b fleet.Broker, id string) error {
	run, err := fleet.ReadRun(ctx, b, id)
	if err != nil {
		return fmt.Errorf("run %q: %w", id, err)
	}
	c := &MirrorCmd{Lists: slices.Clone(run.Lists), Dir: run.Dir, Failed: r.Failed}
	c.Report, c.Rounds, c.Update = r.Report, run.Settings.Rounds, run.Settings.Update
	rec, err := c.newMirrorRecorder(ctx, out)
	if err != nil {
		return err
	}
	rec.headers = c.originHeaders()
	rec.show = newDisplay(out, displayOptions{json: g.JSON, dir: run.Dir, files: 2})
	rec.interrupted = func() string { return "run the same command again" }
	log := &fleet.LogReader{OnOutcome: rec.outcome, OnProblem: func(p fleet.Problem) { rec.problem(problemError(p)) }}
	rec.run = log
	err = log.Read(ctx, b, run, r.Wait)
	if err == nil && log.Counts().Pending > 0 {
		err = errNotEnded
	}
	return rec.finish(ctx, g, err)
}

// problemError returns the error of a problem in the log.
func problemError(p fleet.Problem) error {
	err := failure.Named(p.Kind, p.Error)
	if p.Line > 0 || p.List != "" {
		return &list.Problem{List: p.List, Line: p.Line, Err: err}
	}
	return err
}

var _ counter = (*mirror.Run)(nil)
