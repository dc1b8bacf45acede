package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A report contains all results. It is written to the JSON file as it is, so the JSON
// names must not change without a new version V.
type report struct {
	V       int               `json:"v"`
	Date    time.Time         `json:"date"`
	System  string            `json:"system"`
	Machine string            `json:"machine"`
	Go      string            `json:"go"`
	Quick   bool              `json:"quick"`
	Disk    bool              `json:"disk"`
	Rounds  int               `json:"rounds"`
	Tools   []tool            `json:"tools"`
	Works   []*workloadResult `json:"works"`
}

// A workloadResult is the results of one workload. Times are in seconds.
type workloadResult struct {
	Name    string   `json:"name"`
	Title   string   `json:"title"`
	Amount  string   `json:"amount"`
	Bytes   int64    `json:"bytes"`
	Limit   float64  `json:"limit_s"`   // shortest possible time with up to 16 connections; 0 if unknown
	Limit32 float64  `json:"limit32_s"` // shortest possible time with 32 connections; 0 if unknown
	Network string   `json:"network"`   // "real TCP with cubic", for example, or why that is imitated; "" for loopback alone
	NotRun  string   `json:"not_run"`   // reason why the workload did not run; "" if it ran
	LeftOut []string `json:"left_out"`  // contenders that --few skipped
	Rows    []*row   `json:"rows"`      // one per contender, in the order of tools and commands
	work    workload `json:"-"`
}

// A row is the results of one contender in one workload.
type row struct {
	Tool      string    `json:"tool"`
	Failed    string    `json:"failed"` // error that excludes it from further rounds; "" for none
	Output    string    `json:"output"` // end of its output in the attempt that failed
	Runs      []result  `json:"runs"`   // successful attempts
	contender contender `json:"-"`
}

// newReport returns a report without workloads that describes the machine.
func newReport(o options, tools []tool) *report {
	return &report{V: 1, Date: time.Now().UTC().Truncate(time.Second),
		System:  runtime.GOOS + "/" + runtime.GOARCH,
		Machine: fmt.Sprintf("%d cores, %s", runtime.NumCPU(), processor()),
		Go:      runtime.Version(), Quick: o.quick, Disk: o.includeSync, Rounds: o.rounds, Tools: tools}
}

// processor returns the model name of the CPU from /proc/cpuinfo, or "processor unknown"
// on systems without it.
func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "processor unknown"
}

// printHead prints the date, the machine and the versions of the tools, without which
// the tables below it mean little.
func (r *report) printHead(w io.Writer) {
	fmt.Fprintf(w, "%s, %s, %s, %s", r.Date.Format(time.DateOnly), r.System, r.Machine, r.Go)
	if r.Disk {
		fmt.Fprint(w, ", sync included")
	}
	fmt.Fprintln(w)
	for _, t := range r.Tools {
		fmt.Fprintf(w, "  %-7s %s\n", t.Name, t.Version)
	}
}

// write writes the report as JSON to file, which it replaces.
func (r *report) write(file string) error {
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

// pawlFailed reports whether a pawl failed in a workload that ran.
func (r *report) pawlFailed() bool {
	return slices.ContainsFunc(r.Works, func(w *workloadResult) bool {
		return w.NotRun == "" && slices.ContainsFunc(w.Rows, func(r *row) bool {
			return r.contender.tool.isPawl && r.Failed != ""
		})
	})
}

// setLimits sets Limit and Limit32: the ideal times of the shape, or the time of the bare
// client if it has run. It is called before the rounds and again after them.
func (r *workloadResult) setLimits(a amount) {
	r.Limit = r.work.idealTime(a, 16).Seconds()
	r.Limit32 = r.work.idealTime(a, 32).Seconds()
	if r.work.AnyConns {
		r.Limit = r.work.idealTime(a, 100).Seconds()
		r.Limit32 = r.Limit
	}
	for _, row := range r.Rows {
		if row.contender.tool.Name == "bare" && len(row.Runs) > 0 {
			r.Limit = row.wall()
			r.Limit32 = r.Limit
		}
	}
}

// roundsDone returns the number of rounds. A contender that failed has fewer runs.
func (r *workloadResult) roundsDone() int {
	n := 0
	for _, row := range r.Rows {
		n = max(n, len(row.Runs))
	}
	return n
}

// limitFor returns the shortest possible time for the contender's number of connections,
// 0 if unknown.
func (r *workloadResult) limitFor(c contender) float64 {
	if c.maxConns > 16 {
		return r.Limit32
	}
	return r.Limit
}

// bestPeerTime returns the median time of the fastest peer with which c is compared, or
// 0 if there is none. A peer is any program but pawl and the bare client. If c opens up
// to 16 connections, so must the peer, unless the workload is compared with AnyConns.
func (r *workloadResult) bestPeerTime(c contender) float64 {
	best := 0.0
	for _, row := range r.Rows {
		p := row.contender
		if p.tool.isPawl || p.tool.Name == "bare" || row.Failed != "" || len(row.Runs) == 0 {
			continue
		}
		if p.maxConns > 16 && c.maxConns <= 16 && !r.work.AnyConns {
			continue
		}
		if t := row.wall(); best == 0 || t < best {
			best = t
		}
	}
	return best
}

func (r *row) wall() float64 { return r.median(func(x result) float64 { return x.Wall }) }

// median returns the median of a figure over all runs, 0 if there are none.
func (r *row) median(of func(result) float64) float64 {
	all := make([]float64, len(r.Runs))
	for i, run := range r.Runs {
		all[i] = of(run)
	}
	return median(all)
}

// median returns the middle value of all, or the mean of the two middle values if their
// number is even. It returns 0 if all is empty.
func median(all []float64) float64 {
	if len(all) == 0 {
		return 0
	}
	all = slices.Sorted(slices.Values(all))
	m := len(all) / 2
	if len(all)%2 == 1 {
		return all[m]
	}
	return (all[m-1] + all[m]) / 2
}
