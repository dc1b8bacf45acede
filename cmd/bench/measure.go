package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A bench measures works. Its fields do not change.
type bench struct {
	options
	dir    string // for files, removed by who made it
	tools  []tool
	noise  []byte
	cert   *tls.Certificate
	ca     string // file with cert
	stderr io.Writer
}

// A contender is a command of a tool that is there.
type contender struct {
	command
	tool tool
}

func (c contender) String() string { return strings.TrimSpace(c.tool.Name + " " + c.label) }

// contenders returns who does a work, and those that --few leaves out.
func (b *bench) contenders(w workload) (in, out []contender) {
	for _, t := range b.tools {
		for _, c := range commands[w.Kind] {
			if c.tool != t.Name && !(t.isPawl && c.tool == "pawl") || !w.includes(c) {
				continue
			}
			if b.few && !w.competitive(c) {
				out = append(out, contender{c, t})
				continue
			}
			in = append(in, contender{c, t})
		}
	}
	return in, out
}

// lacks says why a contender cannot do a work at all, "" if it can.
func (c contender) whyUnable(ctx context.Context, k kind) string {
	if c.line == "" {
		return unsupported[k]
	}
	if c.requiredHelp == "" {
		return ""
	}
	help, _ := exec.CommandContext(ctx, c.tool.Path, "get", "--help").Output()
	if !strings.Contains(string(help), c.requiredHelp) {
		return fmt.Sprintf("%s has no %s yet", c.tool.Name, strings.TrimRight(c.requiredHelp, "="))
	}
	return ""
}

// A stage is what all contenders of a work meet.
type testbed struct {
	work       workload
	amount     amount
	dir        string
	sums       map[string]string // SHA-256 of each file by name
	names      []string          // of the files of the list, in order
	warmUpName string            // name of a file for a run before; "" for none
	servers    []*server         // the second is the mirror
}

// measure does one work, round by round, the contenders in turns. No round but
// the first begins after until, if that is not zero. The error is one of the
// benchmark itself.
func (b *bench) measureWorkload(ctx context.Context, w workload, until time.Time) (*workloadResult, error) {
	a := w.Full
	if b.quick {
		a = w.Quick
	}
	r := &workloadResult{Name: w.Name, Title: w.Title, Amount: a.String(), Bytes: a.total(), work: w}
	in, out := b.contenders(w)
	for _, c := range in {
		r.Rows = append(r.Rows, &row{Tool: c.String(), contender: c, Failed: c.whyUnable(ctx, w.Kind)})
	}
	for _, c := range out {
		r.LeftOut = append(r.LeftOut, c.String())
	}
	r.setLimits(a)
	if r.NotRun = r.whyNotRun(); r.NotRun != "" {
		return r, nil
	}
	dir, err := b.makeDir(a)
	if err != nil {
		r.NotRun = err.Error()
		return r, nil
	}
	defer os.RemoveAll(dir)
	s, err := b.setUp(w, a, dir)
	if err != nil {
		return nil, err
	}
	defer s.tearDown()
	b.runRounds(ctx, s, r, until)
	r.setLimits(a)
	return r, nil
}

// rounds lets all do the work as often as asked for, or until allows. Each
// round begins with another contender. One that failed does not run again.
func (b *bench) runRounds(ctx context.Context, s *testbed, r *workloadResult, until time.Time) {
	n := b.options.rounds
	if s.amount.rounds > 0 {
		n = min(n, s.amount.rounds)
	}
	for round := range n {
		if round > 0 && !until.IsZero() && time.Now().After(until) {
			return
		}
		for i := range r.Rows {
			row := r.Rows[(i+round)%len(r.Rows)]
			if row.Failed != "" {
				continue
			}
			result, err := b.runOnce(ctx, s, row.contender)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				row.Failed, row.Output = err.Error(), result.Output
				fmt.Fprintf(b.stderr, "%s %d/%d: %s: %v\n", s.work.Name, round+1, n, row.Tool, err)
				continue
			}
			row.Runs = append(row.Runs, result)
			fmt.Fprintf(b.stderr, "%s %d/%d: %s: %.2f s\n", s.work.Name, round+1, n, row.Tool, result.Wall)
		}
	}
}

// place makes a directory with room for what the work writes, half as much
// again to spare: in the usual place, else in the temporary one.
func (b *bench) makeDir(a amount) (string, error) {
	needs := (a.total() + a.size) * 3 / 2
	dirs := []string{b.dir, os.TempDir()}
	for _, dir := range dirs {
		if free := freeSpace(dir); free < 0 || free >= needs {
			return os.MkdirTemp(dir, "pawl-bench-work-")
		}
	}
	return "", fmt.Errorf("needs %s, which neither %s nor %s has", bytesText(needs), dirs[0], dirs[1])
}

// setUp makes the files of a work and starts its servers.
func (b *bench) setUp(w workload, a amount, dir string) (*testbed, error) {
	s := &testbed{work: w, amount: a, dir: dir, sums: make(map[string]string)}
	files := make(map[string]content)
	add := func(name string, seed uint64) (err error) {
		files[name] = content{b.noise, seed, a.size}
		if w.Sendfile && len(s.names) > 0 { // all are the same
			s.sums[name] = s.sums[s.names[0]]
			return nil
		}
		s.sums[name], err = sha256Hex(files[name].reader())
		return err
	}
	for i := range a.files {
		name := fmt.Sprintf("f%05d.bin", i)
		seed := uint64(i)
		if w.Sendfile {
			seed = 0
		}
		if err := add(name, seed); err != nil {
			return nil, err
		}
		s.names = append(s.names, name)
	}
	if w.Kind == limitedServer {
		s.warmUpName = "first.bin"
		if err := add(s.warmUpName, 1<<20); err != nil {
			return nil, err
		}
	}
	c := serverConfig{Shape: w.Shape, Files: files, MaxRequests: w.MaxRequests, MaxConns: w.MaxConns, HTTP2: w.HTTP2}
	if w.TLS {
		c.Cert = b.cert
	}
	if w.Sendfile {
		c.RealFile = filepath.Join(dir, "served")
		if err := files[s.names[0]].write(c.RealFile); err != nil {
			return nil, err
		}
	}
	if err := s.start(c); err != nil || w.Kind != twoMirrors {
		return s, err
	}
	c.Shape = w.MirrorShape
	return s, s.start(c)
}

func (s *testbed) start(c serverConfig) error {
	one, err := startServer(c)
	if err != nil {
		s.tearDown()
		return err
	}
	s.servers = append(s.servers, one)
	return nil
}

func (s *testbed) tearDown() {
	for _, one := range s.servers {
		one.close()
	}
}

// patience returns how long a run may take.
func (b *bench) timeout(s *testbed) time.Duration {
	ideal := s.work.idealTime(s.amount, 16)
	if ideal == 0 {
		ideal = time.Duration(s.amount.total()/(200*mega)+1) * time.Second
	}
	if b.quick {
		return 10*time.Second + 6*ideal
	}
	return 10*time.Second + 12*ideal
}

// once lets a contender do the work once, in directories of its own, and checks
// what it has made.
func (b *bench) runOnce(ctx context.Context, s *testbed, c contender) (result, error) {
	run := &attempt{bench: b, testbed: s, contender: c, job: job{baseURL: s.servers[0].baseURL, name: s.names[0], size: s.amount.size}}
	if s.work.Kind == twoMirrors {
		run.job.mirrorURL = s.servers[1].baseURL
	}
	if s.work.TLS {
		run.job.caFile = b.ca
	}
	top, err := os.MkdirTemp(s.dir, "run-")
	if err != nil {
		return result{}, err
	}
	defer os.RemoveAll(top)
	run.job.dir, run.job.stateDir = filepath.Join(top, "files"), filepath.Join(top, "state")
	if err := errors.Join(os.Mkdir(run.job.dir, 0o755), os.Mkdir(run.job.stateDir, 0o755), s.writeLists(run.job)); err != nil {
		return result{}, err
	}
	return run.run(ctx)
}

// writeLists writes the lists that commands of a job may read.
func (s *testbed) writeLists(j job) error {
	var plain, curl strings.Builder
	for _, name := range s.names {
		fmt.Fprintf(&plain, "%s/%s\n", j.baseURL, name)
		fmt.Fprintf(&curl, "url = \"%s/%s\"\noutput = \"%s/%s\"\n", j.baseURL, name, filepath.ToSlash(j.dir), name)
	}
	return errors.Join(
		os.WriteFile(filepath.Join(j.stateDir, "list"), []byte(plain.String()), 0o644),
		os.WriteFile(filepath.Join(j.stateDir, "curllist"), []byte(curl.String()), 0o644))
}

// hopeless says why a work is not worth running, "" if it is: no pawl can do it.
func (r *workloadResult) whyNotRun() string {
	why := "there is no pawl"
	if slices.ContainsFunc(r.Rows, func(row *row) bool {
		if row.contender.tool.isPawl && row.Failed != "" {
			why = row.Failed
		}
		return row.contender.tool.isPawl && row.Failed == ""
	}) {
		return ""
	}
	return why
}
