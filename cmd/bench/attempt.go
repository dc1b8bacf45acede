package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// A result is one run of a contender. Times are in seconds.
type result struct {
	Wall      float64 `json:"wall_s"`
	CPU       float64 `json:"cpu_s"`
	RSS       int64   `json:"rss_bytes"`
	Conns     int64   `json:"connections"`
	Refused   int64   `json:"refused"`
	Refetched int64   `json:"fetched_again_bytes"` // of the killed kind only
	Output    string  `json:"-"`                   // of a failed run
}

// A onceRun is a contender at work.
type attempt struct {
	bench     *bench
	testbed   *testbed
	contender contender
	job       job
}

// all does what the kind of the work asks for around the run that is measured.
func (r *attempt) run(ctx context.Context) (result, error) {
	s := r.testbed
	if r.contender.warmUp {
		first := *r
		first.job.name = s.warmUpName
		if u, err := first.runCommand(ctx); err != nil {
			return result{Output: u.Output}, fmt.Errorf("run before: %w", err)
		}
	}
	for _, one := range s.servers {
		one.reset()
	}
	if s.work.Kind == killedHalfway {
		if u, err := r.runAndKill(ctx); err != nil {
			return result{Output: u.Output}, err
		}
	}
	u, err := r.runCommand(ctx)
	if err != nil {
		return result{Output: u.Output}, err
	}
	end := time.Now()
	if err := r.syncFiles(); err != nil {
		return result{}, err
	}
	wall := u.Wall
	if r.bench.includeSync {
		wall += time.Since(end)
	}
	res := result{Wall: wall.Seconds(), CPU: u.CPU.Seconds(), RSS: u.RSS}
	for _, one := range s.servers {
		res.Conns += one.conns.Load()
		res.Refused += one.refused.Load()
		if s.work.Kind == killedHalfway {
			res.Refetched += one.sent.Load() - s.amount.total()
		}
	}
	return res, r.verify()
}

// child runs the command to its end.
func (r *attempt) runCommand(ctx context.Context) (resourceUsage, error) {
	patience := r.bench.timeout(r.testbed)
	ctx, stop := context.WithTimeoutCause(ctx, patience, fmt.Errorf("%w after %.0f s", errTimeout, patience.Seconds()))
	defer stop()
	argv := r.contender.argv(r.job)
	argv[0] = r.contender.tool.Path
	u, err := runChild(ctx, argv, childEnv(os.Environ(), r.job.caFile), r.job.dir)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, lastLine(u.Output))
	}
	return u, err
}

// killedChild runs the command until the server has sent half, and kills it.
func (r *attempt) runAndKill(ctx context.Context) (resourceUsage, error) {
	ctx, kill := context.WithCancelCause(ctx)
	watched, done := context.WithCancel(ctx)
	gone := make(chan struct{})
	go func() { // joined below
		defer close(gone)
		if r.testbed.servers[0].waitSent(watched, r.testbed.amount.total()/2) {
			kill(errKilled)
		}
	}()
	u, err := r.runCommand(ctx)
	done()
	<-gone
	kill(nil)
	switch {
	case errors.Is(err, errKilled):
		return u, nil
	case err == nil:
		return u, errors.New("it ended before it could be killed")
	}
	return u, err
}

// sync brings the files of the run to disk, as pawl itself does.
func (r *attempt) syncFiles() error {
	if !r.bench.includeSync {
		return nil
	}
	for _, name := range r.testbed.names {
		f, err := os.OpenFile(filepath.Join(r.job.dir, name), os.O_RDWR, 0)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// check compares the files of the run with what was served.
func (r *attempt) verify() error {
	for _, name := range r.testbed.names {
		got, err := sha256File(filepath.Join(r.job.dir, name))
		if err != nil {
			return fmt.Errorf("result: %w", err)
		}
		if got != r.testbed.sums[name] {
			return fmt.Errorf("result: %s has other bytes than were served", name)
		}
	}
	return nil
}
