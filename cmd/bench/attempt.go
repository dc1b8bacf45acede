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

// A result is the measurement of one attempt. Times are in seconds.
type result struct {
	Wall     float64 `json:"wall_s"`
	CPU      float64 `json:"cpu_s"`
	RSS      int64   `json:"rss_bytes"`
	Conns    int64   `json:"connections"`
	Requests int64   `json:"requests"`
	Refused  int64   `json:"refused"`
	// Refetched is the number of bytes that the server sent beyond the size of the
	// file: killed before, a program sends for bytes again that it did not keep. Only
	// the kind killedHalfway has it.
	Refetched int64  `json:"fetched_again_bytes"`
	Output    string `json:"-"` // end of the program's output if the attempt failed
}

// An attempt is one measured download of a workload by one contender.
type attempt struct {
	bench     *bench
	testbed   *testbed
	contender contender
	job       job
}

// run measures the contender's command. Before it, and not measured, come the warm-up
// download and the killed run, if the command or the workload's kind has them. The
// counters of the servers must be reset after the warm-up and before the killed run,
// because bytes that the killed run received count as fetched once.
func (r *attempt) run(ctx context.Context) (result, error) {
	s := r.testbed
	if r.contender.warmUp {
		first := *r
		first.job.name = s.warmUpName
		if u, err := first.runCommand(ctx); err != nil {
			return result{Output: u.Output}, fmt.Errorf("warm-up: %w", err)
		}
	}
	for _, srv := range s.servers {
		srv.reset()
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
	for _, srv := range s.servers {
		c := srv.counts()
		res.Conns += c.conns
		res.Requests += c.requests
		res.Refused += c.refused
		if s.work.Kind == killedHalfway {
			res.Refetched += c.sent - s.amount.total()
		}
	}
	return res, r.verify()
}

// runCommand runs the contender's command to its end, within the workload's timeout.
func (r *attempt) runCommand(ctx context.Context) (resourceUsage, error) {
	patience := r.bench.timeout(r.testbed)
	ctx, stop := context.WithTimeoutCause(ctx, patience, fmt.Errorf("%w after %.0f s", errTimeout, patience.Seconds()))
	defer stop()
	argv := r.contender.argv(r.job)
	argv[0] = r.contender.tool.Path
	if l := r.testbed.link; l != nil {
		argv = l.atClient(argv)
	}
	u, err := runChild(ctx, argv, childEnv(os.Environ(), r.job.caFile), r.job.dir)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, lastLine(u.Output))
	}
	return u, err
}

// runAndKill starts the contender's command and kills it when the first server has
// sent half of the file. A program that ends earlier is an error.
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
		return u, errors.New("program ended before it could be killed")
	}
	return u, err
}

// syncFiles calls fsync for the downloaded files if --disk is given. pawl has synced
// them already, so this makes the other programs pay for the same durability.
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

// verify compares the checksums of the downloaded files with the served ones.
func (r *attempt) verify() error {
	for _, name := range r.testbed.names {
		got, err := sha256File(filepath.Join(r.job.dir, name))
		if err != nil {
			return fmt.Errorf("verifying: %w", err)
		}
		if got != r.testbed.sums[name] {
			return fmt.Errorf("verifying: %s differs from the served file", name)
		}
	}
	return nil
}
