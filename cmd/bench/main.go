// Command bench compares pawl with the other downloaders that it finds on the PATH.
// It starts HTTP servers on loopback that imitate slow links, long round trips,
// packet loss and connection limits. The programs take turns at the same downloads.
// bench verifies every downloaded byte and prints one table per workload. It needs
// Go and no root privileges.
//
//	go run ./cmd/bench --quick
//	go run ./cmd/bench --only 'wan|lossy' --rounds 9 --json new.json
//	go run ./cmd/bench --also old=/usr/local/bin/pawl
//
// To add a workload, append it to the table in workloads.go. To add a program, append
// its command lines in commands.go and its name in findTools. shape.go and relay.go
// imitate the network.
//
// A figure is comparable only with the other figures of the same run, because it
// depends on the machine and on everything else that runs there.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	// findTools runs this program as the contender "bare", so the check must come before
	// the flags are parsed.
	if len(os.Args) > 1 && os.Args[1] == "--bare" {
		os.Exit(runBare(os.Args[2:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// quickTime bounds --quick: a workload starts no second round after its share of
// quickTime has passed. First rounds always run, so the whole takes somewhat longer.
// 130 s is a guess that keeps it under the three minutes which the help promises; half
// of it leaves most workloads a single round, double breaks the promise.
const quickTime = 130 * time.Second

// options is the parsed command line.
type options struct {
	pawl        string         // path of the pawl to measure; "" builds the checkout's
	otherPawls  []tool         // from --also, in the order given
	rounds      int            // rounds per workload, at least 1
	quick       bool           // use the Quick amounts, and stop after quickTime
	few         bool           // skip the commands that workload.competitive rejects
	only        *regexp.Regexp // selects workloads by name
	dir         string         // parent of the downloaded files; "" for the default
	includeSync bool           // write to disk and add the time of fsync
	jsonFile    string         // file for the report; "" for none
}

// tool is a program to measure.
type tool struct {
	Name    string `json:"name"`
	Path    string `json:"-"`
	Version string `json:"version"`
	isPawl  bool   // runs the commands of pawl, whatever its Name
}

// parse parses the command line and fills in the defaults. It returns flag.ErrHelp for
// --help, after printing the usage to stderr.
func parse(args []string, stderr io.Writer) (options, error) {
	o := options{only: regexp.MustCompile("")}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.pawl, "pawl", "", "measure this pawl `program` instead of building the checkout's")
	f.Func("also", "also measure another pawl, given as `NAME=PATH`; repeatable", func(s string) error {
		name, path, ok := strings.Cut(s, "=")
		if !ok || name == "" || path == "" {
			return errors.New("want NAME=PATH")
		}
		o.otherPawls = append(o.otherPawls, tool{Name: name, Path: path, isPawl: true})
		return nil
	})
	f.IntVar(&o.rounds, "rounds", 0, "rounds per workload (default 5, with --quick 2)")
	f.BoolVar(&o.quick, "quick", false, "smaller downloads and fewer rounds, in under three minutes")
	f.BoolVar(&o.few, "few", false, "skip commands that are known to be far too slow for a workload, as --quick does")
	f.Func("only", "run only the workloads whose names match `REGEXP`", func(s string) (err error) {
		o.only, err = regexp.Compile(s)
		return err
	})
	f.StringVar(&o.dir, "dir", "", "`directory` for the files (default: /dev/shm if it exists, else the temporary directory)")
	f.BoolVar(&o.includeSync, "disk", false, "write the files to the temporary directory, and include the time that it takes to sync them")
	f.StringVar(&o.jsonFile, "json", "", "write all results to `FILE`")
	f.Usage = func() {
		fmt.Fprintln(stderr, "Usage: go run ./cmd/bench [flags]")
		f.PrintDefaults()
		fmt.Fprintln(stderr, "Workloads:")
		for _, w := range workloads {
			fmt.Fprintf(stderr, "  %-15s %s\n", w.Name, w.Title)
		}
	}
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	o.few = o.few || o.quick
	if o.rounds < 0 {
		return o, fmt.Errorf("--rounds is %d, want a positive number", o.rounds)
	}
	if o.rounds == 0 {
		o.rounds = 5
		if o.quick {
			o.rounds = 2
		}
	}
	return o, nil
}

// run is the whole program. It returns the exit code: 0 for success, 1 if a pawl failed
// or nothing could be measured, 2 for a usage error, 130 if ctx was canceled.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "bench: error: %v\n", err)
		return 2
	}
	r, err := measureAll(ctx, o, stdout, stderr)
	if o.jsonFile != "" && r != nil {
		err = errors.Join(err, r.write(o.jsonFile))
	}
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "bench: error: interrupted")
		return 130
	case err != nil:
		fmt.Fprintf(stderr, "bench: error: %v\n", err)
		return 1
	case r.pawlFailed():
		return 1
	}
	return 0
}

// measureAll runs the selected workloads one after another and prints the table of
// each as soon as it is complete. On an error the report contains the workloads
// completed so far; it is nil if none could start.
func measureAll(ctx context.Context, o options, stdout, stderr io.Writer) (*report, error) {
	if len(o.selected()) == 0 {
		return nil, fmt.Errorf("no workload matches %q", o.only)
	}
	parent := o.dir
	if s, err := os.Stat("/dev/shm"); parent == "" && !o.includeSync && err == nil && s.IsDir() {
		parent = "/dev/shm"
	}
	dir, err := os.MkdirTemp(parent, "pawl-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	tools, err := findTools(ctx, o, dir)
	if err != nil {
		return nil, err
	}
	b := &bench{options: o, dir: dir, tools: tools, noise: noise(), stderr: stderr, ca: filepath.Join(dir, "ca.pem")}
	if b.cert, err = newCert(b.ca); err != nil {
		return nil, err
	}
	r := newReport(o, tools)
	r.printHead(stdout)
	chosen := o.selected()
	begin := time.Now()
	for i, w := range chosen {
		var until time.Time
		if o.quick {
			until = begin.Add(quickTime * time.Duration(i+1) / time.Duration(len(chosen)))
		}
		result, err := b.measureWorkload(ctx, w, until)
		if err != nil || ctx.Err() != nil {
			return r, err
		}
		r.Works = append(r.Works, result)
		result.print(stdout)
	}
	return r, nil
}

// selected returns the workloads that o.only matches. With --quick it leaves out
// the workloads without a Quick amount.
func (o options) selected() []workload {
	return slices.DeleteFunc(slices.Clone(workloads), func(w workload) bool {
		return !o.only.MatchString(w.Name) || o.quick && w.Quick == amount{}
	})
}

// findTools returns pawl, the other pawls, the known downloaders on the PATH and
// bench's own client, in this order. If --pawl is not given it builds pawl into dir. A
// downloader that is not installed is left out without an error.
func findTools(ctx context.Context, o options, dir string) ([]tool, error) {
	path := o.pawl
	if path == "" {
		path = filepath.Join(dir, "pawl.exe")
		build := exec.CommandContext(ctx, "go", "build", "-o", path, "pawl/cmd/pawl")
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("building pawl: %w\n%s", err, out)
		}
	}
	own, err := os.Executable()
	if err != nil {
		return nil, err
	}
	tools := append([]tool{{Name: "pawl", Path: path, isPawl: true}}, o.otherPawls...)
	for i, t := range tools {
		if tools[i].Path, err = exec.LookPath(t.Path); err != nil {
			return nil, err
		}
		if tools[i].Path, err = filepath.Abs(tools[i].Path); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"aria2c", "curl", "wget", "wget2", "axel", "lftp", "rclone"} {
		if path, err := exec.LookPath(name); err == nil {
			tools = append(tools, tool{Name: name, Path: path})
		}
	}
	for i, t := range tools {
		tools[i].Version = versionOf(ctx, t.Path)
	}
	return append(tools, tool{Name: "bare", Path: own, Version: "net/http, this program's own client"}), nil
}

// versionOf returns the first line that the program prints for --version, or
// "unknown" if it fails.
func versionOf(ctx context.Context, path string) string {
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return first
}
