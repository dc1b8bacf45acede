// Command bench compares pawl with the other downloaders that it finds on the PATH.
// The programs take turns at the same downloads. bench verifies every downloaded byte and
// prints one table per workload.
//
// As root on Linux, with ip(8), it measures delays, rates and losses over real TCP, on links
// between network namespaces that it makes and removes. Without root it needs only Go, and relays
// in its HTTP servers imitate the links: they leave out much of TCP, so the figures of these
// workloads are approximations, and the table says so. The server is nginx where that is
// installed and can serve the workload, otherwise bench's own.
//
//	go run ./cmd/bench --quick
//	go run ./cmd/bench --only 'wan|lossy' --rounds 9 --json new.json
//	go run ./cmd/bench --also old=/usr/local/bin/pawl
//
// To add a workload, append it to the table in workloads.go. To add a program, append
// its command lines in commands.go and its name in findTools. link_linux.go makes the
// links, shape.go and relay.go imitate them.
//
// A figure is comparable only with the other figures of the same run, because it
// depends on the machine and on everything else that runs there.
//
// # Results
//
// Seconds of wall time over real TCP with CUBIC on 2026-11-30, on two cores of an Intel Xeon with Linux, in memory, with
// aria2 1.36.0, curl 7.88.1, wget2 1.99.1, axel 2.17.11 and lftp 4.9.2. "limit" is the time that the shape of the network
// allows, with 16 and with 32 connections if that differs. Medians of five rounds with --quick, and three of 512 MiB at 80 ms:
//
//	work                                           limit                 pawl  -x 32 or 100  others
//	512 MiB, 80 ms, 1 Gbit/s                       4.82                  5.39  5.69          aria2c -x16 5.62, axel -n32 6.27, -n16 6.75, lftp 9.24
//	48 MiB, the same                               0.92                  1.26  1.36          lftp 1.56, aria2c -x16 1.71, axel -n32 1.71, -n16 1.96
//	6 MiB, the same, 0.5 % loss                    0.50                  1.09  1.10          axel -n32 0.98, -n16 1.38, lftp 2.75, aria2c -x16 3.65
//	48 MiB, 4 MB/s per connection, 100 in all      0.83 (16), 0.54 (32)  1.08  0.90          axel -n32 0.74, lftp 0.90, aria2c -x16 0.92, axel -n16 0.95
//	16 MiB, each fifth connection slow             0.17                  0.30  0.34          axel -n32 0.46, -n16 0.48, lftp, aria2c -x16 5.28
//	16 MiB, 503 beyond 3 connections               0.60                  0.77                axel -n3, lftp 0.65, aria2c 0.74, axel -n16 0.84
//	64 MiB, mirrors of 40 and 4 MB/s               1.53                  1.57                curl, the fast one 1.69, axel 1.77, aria2c 2.15
//	40 × 4 MiB at 20 ms, 1 Gbit/s                  1.39                  1.99  2.02          wget2 1.83 (50), curl 1.84 (50), aria2c -j16 1.91
//	600 × 16 KiB at 20 ms, HTTP/1.1                0.13                  0.45  0.31          curl 0.26 (100), 0.31 (50), wget2 0.31 (50), aria2c -j16 0.89
//	600 × 16 KiB at 20 ms, HTTP/2                  0.15                  0.38  0.40          curl 0.35, wget2 0.39 (50), aria2c -j16 0.90
//
// The same day, before the last changes, with the BBR of that machine, medians of three rounds, other work beside the lists:
//
//	work                                            limit                 pawl  -x 32 or 100  others
//	512 MiB, 4 MB/s per connection, 100 in all      8.43 (16), 5.41 (32)  7.93  6.57          aria2c -x16 8.45, axel -n16 8.49, -n32 5.89, lftp 8.57
//	200 × 4 MiB at 20 ms, 1 Gbit/s                  6.76                  7.61  9.30          curl 7.66 (50), wget2 8.20 (50)
//	5,000 × 16 KiB at 20 ms, HTTP/1.1               0.70                  3.21  2.40          curl 1.93 (100), wget2 3.08 (50), aria2c -j16 10.04
//	5,000 × 16 KiB at 20 ms, HTTP/2                 0.72                  2.30  2.31          wget2 2.19 (50), curl 3.67, aria2c -j16 10.42
//
// Seconds of wall time through relays that imitate the links, which flatters all programs, and on
// loopback, on 2026-11-21 and 22, on two cores of an Intel Xeon with Linux, in
// memory unless stated otherwise, with aria2 1.36.0, curl 7.88.1, wget2 1.99.1 and axel
// 2.17.11. "limit" is the time that the shape of the network allows, with 16 and with 32
// connections if that differs. Full size, medians of five runs beside axel (mirrors, small
// files and to disk: three; 503 beyond 3 connections: two; loopback: four):
//
//	work                                                 limit                 pawl              -x 32  others
//	512 MiB, 4 MB/s per connection, 100 in all           8.39 (16), 5.37 (32)  8.52              5.52   axel -n16 8.41, -n32 5.39
//	512 MiB, 80 ms, 1 Gbit/s                             4.82                  5.08              5.06   axel -n32 5.22, -n16 5.31
//	64 MiB, the same, 0.5 % loss                                               10.91             5.86   axel -n32 5.69, -n16 11.56
//	256 MiB, each fifth connection slow                  2.68                  2.78              2.78   axel -n32 3.20, -n16 3.30
//	256 MiB, mirrors of 40 and 4 MB/s                    6.10                  6.17                     axel, both 6.30
//	256 MiB, 503 beyond 3 connections (runs 1, 2, -x 3)  8.99                  9.28, 9.29, 9.44
//	4 GiB, loopback, HTTP                                3.56                  4.10                     wget2 4.30, curl 4.89
//	4 GiB, loopback, HTTPS                               6.15                  6.46                     curl 5.69, wget2 5.69
//	4 GiB, loopback, HTTP, to ext4, synced                                     6.09                     wget2 5.15, curl 7.48
//	4 GiB, loopback, HTTPS, to ext4, synced                                    6.39                     wget2 6.66, curl 7.45
//	5,000 × 16 KiB at 20 ms, HTTP/1.1 (-x 16, 100)       0.70                  7.06, 1.30               curl 1.27 (100), curl 2.28 (50), wget2 6.43 (50)
//	5,000 × 16 KiB at 20 ms, HTTP/2                      0.72                  1.02                     wget2 0.99 (50), curl 1.41
//
// Small size, where the start matters (--quick, medians of at most two runs):
//
//	work                                          limit                 pawl        -x 32  others
//	48 MiB, 4 MB/s per connection, 100 in all     0.79 (16), 0.50 (32)  0.90        0.67   axel -n32 0.53, -n16 0.80, aria2c -x16 0.83
//	48 MiB, 80 ms, 1 Gbit/s                       0.92                  1.38        1.47   aria2c -x16 1.30, axel -n32 1.33, -n16 1.42
//	6 MiB, the same, 0.5 % loss                   0.50                  1.51        1.42   axel -n32 1.23, -n16 1.87, aria2c -x16 4.17
//	16 MiB, each fifth connection slow            0.17                  0.33        0.34   axel 0.48, aria2c -x16 5.29
//	512 MiB, loopback, HTTP                       0.44                  0.49               wget2 0.44, curl 0.60, axel 0.67, aria2c 0.68
//	512 MiB, loopback, HTTPS                      0.64                  0.83               curl 0.58, wget2 0.60, aria2c 0.78, axel 0.95
//	16 MiB, 503 beyond 3 connections (runs 1, 2)  0.60                  0.81, 0.75         axel -n3 0.65, aria2c -x16 0.72, axel -n16 1.05
//	64 MiB, mirrors of 40 and 4 MB/s              1.53                  1.58               curl, the fast one 1.69, axel, both 1.77, aria2c, both 2.14
//	600 × 16 KiB at 20 ms, HTTP/1.1 (-x 16, 100)  0.13                  0.99, 0.30         curl 0.28 (100), curl 0.34 (50), wget2 0.91 (50)
//	600 × 16 KiB at 20 ms, HTTP/2                 0.15                  0.34               curl 0.33, wget2 0.34
//	128 MiB at 200 MB/s after kill -9 at half     0.34                  0.35               curl, wget 0.34, axel 0.68, wget2 0.68, aria2c 0.70
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

// quickTime bounds --quick without --rounds: a workload starts no second round after its share of
// quickTime has passed. First rounds always run, so the whole takes somewhat longer.
// 130 s is a guess that keeps it under the three minutes which the help promises; half
// of it leaves most workloads a single round, double breaks the promise.
const quickTime = 130 * time.Second

// options is the parsed command line.
type options struct {
	pawl        string         // path of the pawl to measure; "" builds the checkout's
	otherPawls  []tool         // from --also, in the order given
	rounds      int            // rounds per workload, at least 1
	quick       bool           // use the Quick amounts
	maxTime     time.Duration  // no second rounds after it, see quickTime; 0 for no limit
	few         bool           // skip the commands that workload.competitive rejects
	only        *regexp.Regexp // selects workloads by name
	dir         string         // parent of the downloaded files; "" for the default
	congestion  string         // how TCP controls congestion on links
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
	f.BoolVar(&o.quick, "quick", false, "smaller downloads and, without --rounds, fewer rounds, in under three minutes")
	f.BoolVar(&o.few, "few", false, "skip commands that are known to be far too slow for a workload, as --quick does")
	f.Func("only", "run only the workloads whose names match `REGEXP`", func(s string) (err error) {
		o.only, err = regexp.Compile(s)
		return err
	})
	f.StringVar(&o.dir, "dir", "", "`directory` for the files (default: /dev/shm if it exists, else the temporary directory)")
	f.StringVar(&o.congestion, "congestion", "cubic", "how TCP controls congestion on links: an `algorithm` that the kernel has")
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
			o.rounds, o.maxTime = 2, quickTime
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
		if o.maxTime > 0 {
			until = begin.Add(o.maxTime * time.Duration(i+1) / time.Duration(len(chosen)))
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
