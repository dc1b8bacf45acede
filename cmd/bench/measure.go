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

// A bench runs workloads. Its fields do not change after measureAll has set them.
type bench struct {
	options
	dir    string           // for all files; measureAll creates and removes it
	tools  []tool           // pawl first, see findTools
	noise  []byte           // shared by all contents
	cert   *tls.Certificate // of all HTTPS servers
	ca     string           // PEM file of cert, inside dir
	stderr io.Writer        // for one line of progress per attempt
}

// A contender is a command together with an installed tool that runs it. Two pawls
// make two contenders of the same command.
type contender struct {
	command
	tool tool
}

func (c contender) String() string { return strings.TrimSpace(c.tool.Name + " " + c.label) }

// contenders returns the contenders of a workload, and the ones that --few skips.
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

// whyUnable returns the reason why the contender cannot do tasks of kind k, or "" if it
// can.
func (c contender) whyUnable(ctx context.Context, k kind) string {
	if c.line == "" {
		return unsupported[k]
	}
	if c.requiredHelp == "" {
		return ""
	}
	help, _ := exec.CommandContext(ctx, c.tool.Path, "get", "--help").Output()
	if !strings.Contains(string(help), c.requiredHelp) {
		return fmt.Sprintf("%s does not support %s", c.tool.Name, strings.TrimRight(c.requiredHelp, "="))
	}
	return ""
}

// A testbed is the servers and files of one workload, shared by all contenders. It is
// made by setUp and must be released by tearDown.
type testbed struct {
	work       workload
	amount     amount
	dir        string
	sums       map[string]string // SHA-256 in hex of each served file, by name
	names      []string          // names of the files to download, in the order of the list
	warmUpName string            // name of the file for commands with warmUp; "" for none
	servers    []fileServer      // the second one is the mirror
	link       *link             // between the servers and the programs; nil for loopback
	network    string            // the emulation of a network, "" for loopback alone
}

// measureWorkload runs one workload. No round but the first starts after until, unless
// until is zero. Failures of contenders are part of the result; the error is a failure
// of bench itself.
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
	r.Network = s.network
	b.runRounds(ctx, s, r, until)
	r.setLimits(a)
	return r, nil
}

// runRounds runs the rounds of a workload, with one attempt of each contender per
// round. Each round starts with another contender, so that none always runs first or
// after the same one. A contender that fails does not run again. No round but the first
// starts after until, unless until is zero.
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

// makeDir makes a directory for a workload in the directory of bench, or in the
// temporary directory if bench's lacks space. It asks for 1.5 times the bytes that the
// served file and one download take; the half is a guess, for programs that
// preallocate or copy. The caller must remove the directory.
func (b *bench) makeDir(a amount) (string, error) {
	needs := (a.total() + a.size) * 3 / 2
	dirs := []string{b.dir, os.TempDir()}
	for _, dir := range dirs {
		if free := freeSpace(dir); free < 0 || free >= needs {
			return os.MkdirTemp(dir, "pawl-bench-work-")
		}
	}
	return "", fmt.Errorf("needs %s of free space, but neither %s nor %s has that much", bytesText(needs), dirs[0], dirs[1])
}

// setUp makes the files of a workload in dir, computes their checksums, and starts the
// servers. The caller must call tearDown.
func (b *bench) setUp(w workload, a amount, dir string) (*testbed, error) {
	s := &testbed{work: w, amount: a, dir: dir, sums: make(map[string]string)}
	files := make(map[string]content)
	add := func(name string, seed uint64) (err error) {
		files[name] = content{b.noise, seed, a.size}
		if w.Sendfile && len(s.names) > 0 { // all files are served from the same real file
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
	if w.overLink() {
		var err error
		if s.link, err = newLink(w.Shape, b.options.congestion); err != nil {
			s.network = "imitated, because " + err.Error()
		} else {
			s.network, c.Link = "real TCP with "+b.options.congestion, s.link
			c.Shape = c.Shape.ofConnections()
		}
	}
	nginx := w.nginxCanServe(c.Shape)
	if w.Sendfile || nginx {
		c.RealFile = filepath.Join(dir, "served")
		if err := s.writeFiles(files, c.RealFile); err != nil {
			s.tearDown()
			return nil, err
		}
	}
	if !w.Sendfile {
		c.RealFile = ""
	}
	if err := s.start(c, nginx); err != nil || w.Kind != twoMirrors {
		return s, err
	}
	c.Shape = w.MirrorShape
	return s, s.start(c, false)
}

// writeFiles writes the files into the directory of the testbed. If they are all the same they
// are links to one file.
func (s *testbed) writeFiles(files map[string]content, first string) error {
	source := files[s.names[0]]
	if err := source.write(first); err != nil {
		return err
	}
	for name, f := range files {
		path := filepath.Join(s.dir, name)
		if f.seed == source.seed {
			if err := os.Link(first, path); err != nil {
				return err
			}
			continue
		}
		if err := f.write(path); err != nil {
			return err
		}
	}
	return nil
}

// start starts one more server. If it fails it stops the ones that run.
func (s *testbed) start(c serverConfig, nginx bool) error {
	var srv fileServer
	var err error
	if nginx {
		srv, err = startNginx(s.link, s.dir, c.Shape)
	} else {
		srv, err = startServer(c)
	}
	if err != nil {
		s.tearDown()
		return err
	}
	s.servers = append(s.servers, srv)
	return nil
}

// tearDown stops all servers. The caller removes the directory.
func (s *testbed) tearDown() {
	for _, srv := range s.servers {
		srv.close()
	}
	if s.link != nil {
		s.link.close()
	}
}

// timeout returns how long one attempt may take before it is killed: 12 times the ideal
// time (6 with --quick) of 16 connections, and 10 s for the start. Both are guesses that
// bound the length of a run: a single connection on a shape that needs 16 may exceed
// them and then counts as failed. A workload without a rate limit is assumed to reach
// 200 MB/s.
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

// runOnce runs one attempt of the contender in new, empty directories, which it removes
// afterwards.
func (b *bench) runOnce(ctx context.Context, s *testbed, c contender) (result, error) {
	run := &attempt{bench: b, testbed: s, contender: c, job: job{baseURL: s.servers[0].url(), name: s.names[0], size: s.amount.size}}
	if s.work.Kind == twoMirrors {
		run.job.mirrorURL = s.servers[1].url()
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

// writeLists writes the lists of URLs for the {list} and {curllist} of the command
// lines: one URL per line, and a curl configuration.
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

// whyNotRun returns the reason why the workload is not worth running, or "" if it is. A
// comparison needs at least one pawl that can do it.
func (r *workloadResult) whyNotRun() string {
	why := "no pawl to measure"
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
