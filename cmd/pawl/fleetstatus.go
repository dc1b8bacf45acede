package main

// This file prints how far the runs of a fleet are.

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"pawl/downloader/fleet"
	"pawl/downloader/mirror"
	"pawl/downloader/weburl"
)

// A runRow is a run: a line of the table, or an object of --json.
type runRow struct {
	V   int    `json:"v"` // format version
	ID  string `json:"id"`
	Run any    `json:"run"` // fleet.Run
	*fleet.Status

	run fleet.Run
}

// Run prints the runs and, for people, also the workers, the hosts at their limits, and the files that are
// tried again.
func (c *QueueStatusCmd) Run(ctx context.Context, g *Globals, q *QueueCmd, out *printer) error {
	return q.withQueue(ctx, out, true, func(ctx context.Context, b fleet.Broker) error {
		rows, err := c.rows(ctx, b)
		if err != nil {
			return err
		}
		if g.JSON {
			return printJSONLines(out, rows)
		}
		workers, err := fleet.Sessions(ctx, b)
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			out.note("the queue has no run; begin one with: pawl mirror LIST --queue URL --shared; for downloads of this machine, see: pawl list")
		}
		return fleetStatus{rows, workers, time.Now()}.print(out.stdout)
	})
}

// rows returns the runs. The log of an ended run is read only if the user has named the run, because it
// may have millions of entries.
func (c *QueueStatusCmd) rows(ctx context.Context, b fleet.Broker) (rows []runRow, err error) {
	var runs []fleet.Run
	if c.ID != "" {
		run, err := findRun(ctx, b, c.ID)
		if err != nil {
			return nil, err
		}
		runs = []fleet.Run{run}
	} else if runs, err = listRuns(ctx, b); err != nil {
		return nil, err
	}
	for _, run := range runs {
		row := runRow{V: 1, ID: run.ID, Run: run, run: run}
		if c.ID != "" || run.State != fleet.Complete {
			s, err := fleet.StatusOf(ctx, b, run.ID)
			if err != nil {
				return nil, err
			}
			row.Status, row.run, row.Run = &s, s.Run, s.Run
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// A fleetStatus is the output of pawl queue status for people.
type fleetStatus struct {
	runs    []runRow
	workers []fleet.SessionInfo
	now     time.Time
}

// print prints one table after another. There is none without rows.
func (s fleetStatus) print(to io.Writer) error {
	tables := []fleetTable{s.runTable(), s.workerTable(), s.limitTable(), s.retryTable()}
	tables = slices.DeleteFunc(tables, func(t fleetTable) bool { return len(t.rows) == 0 })
	for i, t := range tables {
		if i > 0 {
			if _, err := fmt.Fprintln(to); err != nil {
				return err
			}
		}
		if err := t.print(to); err != nil {
			return err
		}
	}
	return nil
}

// A fleetTable is a table with aligned columns.
type fleetTable struct {
	titles []string
	rows   [][]string
}

// add adds a row. Texts from elsewhere cannot disturb the table.
func (t *fleetTable) add(cells ...string) {
	for i, c := range cells {
		cells[i] = cmp.Or(strings.TrimSpace(printable(weburl.RedactText(c))), "-")
	}
	t.rows = append(t.rows, cells)
}

func (t fleetTable) print(to io.Writer) error {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{t.titles}, t.rows...) {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	w.Flush() // a Builder cannot fail
	for line := range strings.Lines(b.String()) {
		if _, err := fmt.Fprintln(to, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// runTable has a line for each run.
func (s fleetStatus) runTable() fleetTable {
	t := fleetTable{titles: []string{"RUN", "STATE", "HERE", "FAILED", "OF", "RATE", "ETA", "LISTS"}}
	for _, r := range s.runs {
		names := make([]string, len(r.run.Lists))
		for i, name := range r.run.Lists {
			names[i] = listLabel(name)
		}
		here, failed, of, rate, left := "", "", "", "", ""
		if r.Status != nil {
			here, failed, of, rate, left = r.counts()
		}
		t.add(r.ID, r.state(), here, failed, of, rate, left, strings.Join(names, " "))
	}
	return t
}

// listLabel returns the last part of the name of a list.
func listLabel(name string) string {
	if isURL(name) {
		name, _, _ = strings.Cut(name, "?")
		return cmp.Or(path.Base(strings.TrimSuffix(name, "/")), name)
	}
	return filepath.Base(name)
}

// counts returns the columns for the files of a run.
func (r runRow) counts() (here, failed, of, rate, left string) {
	ended := r.Ended[mirror.Fetched] + r.Ended[mirror.Current] + r.Ended[mirror.Unchanged]
	here, failed, of = strconv.Itoa(ended), strconv.Itoa(r.Ended[mirror.Failed]), strconv.Itoa(r.Sent)
	if r.run.State == fleet.Submitting {
		of += "+" // the lists are still being read
	}
	if r.Rate > 0 {
		rate = size(int64(r.Rate)) + "/s"
	}
	if r.FileRate >= 1 {
		rate = strings.TrimPrefix(fmt.Sprintf("%s, %.0f files/s", rate, r.FileRate), ", ")
	}
	if r.ETA > 0 {
		left = longSpan(r.ETA.Round(time.Second))
	}
	return here, failed, of, rate, left
}

// state returns the state of a run for people, with the reason why it does not run.
func (r runRow) state() string {
	switch {
	case r.run.State == fleet.Complete, r.Status != nil && allEnded(*r.Status):
		return "ended"
	case r.run.Control == fleet.Cancelled:
		return withReason("cancelled", r.run.Reason)
	case r.run.Control == fleet.Paused:
		return withReason("paused", r.run.Reason)
	case r.run.State == fleet.Submitting:
		return "reading lists"
	}
	return "running"
}

// allEnded reports whether everything was queued, and has ended.
func allEnded(s fleet.Status) bool {
	n := 0
	for _, files := range s.Ended {
		n += files
	}
	return s.Run.State == fleet.Submitted && n == s.Sent
}

func withReason(state, reason string) string {
	if reason == "" {
		return state
	}
	if strings.HasPrefix(reason, "by ") {
		return state + " " + reason
	}
	return state + ": " + reason
}

// workerTable has a line for each process that belongs to the fleet.
func (s fleetStatus) workerTable() fleetTable {
	t := fleetTable{titles: []string{"WORKER", "MACHINE", "FOR", "FILES", "RATE", "PAUSES BECAUSE"}}
	for _, w := range s.workers {
		rate := ""
		if w.Rate > 0 {
			rate = size(int64(w.Rate)) + "/s"
		}
		t.add(cmp.Or(w.Worker, w.ID), w.Host, longSpan(max(0, s.now.Sub(w.Since)).Round(time.Second)), strconv.Itoa(w.Busy), rate, w.Paused)
	}
	return t
}

// limitTable has a line for each host, or group of hosts, that gets as many requests as it may.
func (s fleetStatus) limitTable() fleetTable {
	t := fleetTable{titles: []string{"HOSTS AT THEIR LIMIT", "PLACES", "BATCHES WAITING", "RUN"}}
	for _, r := range s.runs {
		if r.Status == nil {
			continue
		}
		for _, l := range r.Full {
			t.add(cmp.Or(l.Hosts, "lane "+l.Lane), strconv.Itoa(l.Places), strconv.Itoa(l.Waiting), r.ID)
		}
	}
	return t
}

// retryTable has a line for each round of a run: how many files it tries again, and when it goes on.
func (s fleetStatus) retryTable() fleetTable {
	t := fleetTable{titles: []string{"TRIED AGAIN", "ROUND", "NEXT", "RUN"}}
	for _, r := range s.runs {
		if r.Status == nil {
			continue
		}
		for _, round := range byRound(r.Retries) {
			t.add(fileCountText(round.Files), strconv.Itoa(round.Round), nextText(round.NotBefore.Sub(s.now)), r.ID)
		}
	}
	return t
}

// nextText says when a batch is due.
func nextText(wait time.Duration) string {
	if wait <= 0 {
		return "when a worker is free"
	}
	return "in " + longSpan(wait.Round(time.Second))
}

// byRound returns the batches of each round as one: all files, and the time of the first one.
func byRound(retries []fleet.Retry) (all []fleet.Retry) {
	for _, r := range retries {
		i := slices.IndexFunc(all, func(o fleet.Retry) bool { return o.Round == r.Round })
		if i < 0 {
			all = append(all, r)
			continue
		}
		all[i].Files += r.Files
		if r.NotBefore.Before(all[i].NotBefore) {
			all[i].NotBefore = r.NotBefore
		}
	}
	slices.SortFunc(all, func(a, b fleet.Retry) int { return cmp.Compare(a.Round, b.Round) })
	return all
}
