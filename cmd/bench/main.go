// Command bench compares pawl with the other downloaders it finds on the PATH.
// It starts servers on loopback that behave like networks and limits out there,
// lets each program do the same work in turns, checks every byte, and prints a
// table for each work. It needs no root, and nothing but Go.
//
//	go run ./cmd/bench --quick
//	go run ./cmd/bench --only 'wan|lossy' --rounds 9 --json new.json
//	go run ./cmd/bench --also old=/usr/local/bin/pawl
//
// How the network is made is said in shape.go, what is done in works.go, and by
// which command lines in commands.go.
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
	if len(os.Args) > 1 && os.Args[1] == "--bare" {
		os.Exit(runBare(os.Args[2:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// quickTime is how long --quick begins further rounds, each work for its share.
const quickTime = 130 * time.Second

// options are what the command line says.
type options struct {
	pawl        string // program to measure; "" to build it
	otherPawls  []tool // other pawls
	rounds      int    // 0 for the default
	quick       bool
	few         bool           // leave out what is hopeless, as quick does
	only        *regexp.Regexp // of names of works
	dir         string         // "" for the default
	includeSync bool
	jsonFile    string
}

// tool is a program to measure.
type tool struct {
	Name    string `json:"name"`
	Path    string `json:"-"`
	Version string `json:"version"`
	isPawl  bool   // it is pawl, whatever its name
}

func parse(args []string, stderr io.Writer) (options, error) {
	o := options{only: regexp.MustCompile("")}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.pawl, "pawl", "", "measure the `program` in place of the checkout's")
	f.Func("also", "measure another pawl too, as `NAME=PATH`; repeatable", func(s string) error {
		name, path, ok := strings.Cut(s, "=")
		if !ok || name == "" || path == "" {
			return errors.New("want NAME=PATH")
		}
		o.otherPawls = append(o.otherPawls, tool{Name: name, Path: path, isPawl: true})
		return nil
	})
	f.IntVar(&o.rounds, "rounds", 0, "rounds of each work (default 5, with --quick 2)")
	f.BoolVar(&o.quick, "quick", false, "less of everything, in under three minutes")
	f.BoolVar(&o.few, "few", false, "leave out commands that are hopeless for a work, as --quick does")
	f.Func("only", "do the works whose names match `REGEXP`", func(s string) (err error) {
		o.only, err = regexp.Compile(s)
		return err
	})
	f.StringVar(&o.dir, "dir", "", "`directory` for files (default: /dev/shm if there, else the temporary one)")
	f.BoolVar(&o.includeSync, "disk", false, "files go to the temporary directory, and their sync is part of the time")
	f.StringVar(&o.jsonFile, "json", "", "write all figures to `FILE`")
	f.Usage = func() {
		fmt.Fprintln(stderr, "Usage: go run ./cmd/bench [flags]")
		f.PrintDefaults()
		fmt.Fprintln(stderr, "Works:")
		for _, w := range workloads {
			fmt.Fprintf(stderr, "  %-15s %s\n", w.Name, w.Title)
		}
	}
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("no arguments are taken, but there is %q", f.Arg(0))
	}
	o.few = o.few || o.quick
	if o.rounds < 0 {
		return o, fmt.Errorf("%d rounds are too few", o.rounds)
	}
	if o.rounds == 0 {
		o.rounds = 5
		if o.quick {
			o.rounds = 2
		}
	}
	return o, nil
}

// run is the whole program. It returns the exit code: 0, 1 if pawl failed at
// something or nothing could be measured, 2 for usage, 130 if ctx ended.
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

// measureAll does the works one after another, printing each one's table. The
// report has those that were finished.
func measureAll(ctx context.Context, o options, stdout, stderr io.Writer) (*report, error) {
	if len(o.selected()) == 0 {
		return nil, fmt.Errorf("no work matches %q", o.only)
	}
	place := o.dir
	if s, err := os.Stat("/dev/shm"); place == "" && !o.includeSync && err == nil && s.IsDir() {
		place = "/dev/shm"
	}
	dir, err := os.MkdirTemp(place, "pawl-bench-")
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

// chosen returns the works to do.
func (o options) selected() []workload {
	return slices.DeleteFunc(slices.Clone(workloads), func(w workload) bool {
		return !o.only.MatchString(w.Name) || o.quick && w.Quick == amount{}
	})
}

// findTools returns the programs that are there, pawl first, which it builds if
// none is given, into dir.
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

// versionOf returns the first line of what a program says of its version.
func versionOf(ctx context.Context, path string) string {
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return first
}
