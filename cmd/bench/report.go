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

// A report is all that was measured, as the JSON file has it.
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

// A workResult is one work. Times are in seconds.
type workloadResult struct {
	Name    string   `json:"name"`
	Title   string   `json:"title"`
	Amount  string   `json:"amount"`
	Bytes   int64    `json:"bytes"`
	Limit   float64  `json:"limit_s"`   // with up to 16 connections; 0 if unknown
	Limit32 float64  `json:"limit32_s"` // with 32
	NotRun  string   `json:"not_run"`   // why it was not; "" if it was
	LeftOut []string `json:"left_out"`  // by --few
	Rows    []*row   `json:"rows"`      // in the order of the commands
	work    workload `json:"-"`
}

// A row is one contender in one work.
type row struct {
	Tool      string    `json:"tool"`
	Failed    string    `json:"failed"` // why it was given up; "" if it was not
	Output    string    `json:"output"` // the end of what it printed when it failed
	Runs      []result  `json:"runs"`
	contender contender `json:"-"`
}

func newReport(o options, tools []tool) *report {
	return &report{V: 1, Date: time.Now().UTC().Truncate(time.Second),
		System:  runtime.GOOS + "/" + runtime.GOARCH,
		Machine: fmt.Sprintf("%d cores, %s", runtime.NumCPU(), processor()),
		Go:      runtime.Version(), Quick: o.quick, Disk: o.includeSync, Rounds: o.rounds, Tools: tools}
}

// processor returns the name of the processor where the system tells it.
func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "processor unknown"
}

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

func (r *report) write(file string) error {
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

// pawlFailed reports whether a pawl failed in a work that was run.
func (r *report) pawlFailed() bool {
	return slices.ContainsFunc(r.Works, func(w *workloadResult) bool {
		return w.NotRun == "" && slices.ContainsFunc(w.Rows, func(r *row) bool {
			return r.contender.tool.isPawl && r.Failed != ""
		})
	})
}

// limits sets the limits: computed, or what the bare client took.
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

// mostRuns returns how many rounds were done.
func (r *workloadResult) roundsDone() int {
	n := 0
	for _, row := range r.Rows {
		n = max(n, len(row.Runs))
	}
	return n
}

// limitOf returns the limit for a contender, 0 if unknown.
func (r *workloadResult) limitFor(c contender) float64 {
	if c.maxConns > 16 {
		return r.Limit32
	}
	return r.Limit
}

// best returns the time of the best peer that c is compared with, 0 if there is
// none: of those with up to 16 connections, and of all if c opens more or the
// work does not ask.
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

// median returns the median of a figure of the runs, 0 if there are none.
func (r *row) median(of func(result) float64) float64 {
	all := make([]float64, len(r.Runs))
	for i, run := range r.Runs {
		all[i] = of(run)
	}
	return median(all)
}

// median returns the middle value, or the mean of the two in the middle.
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
