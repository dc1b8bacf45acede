package main

// This file has the commands below "pawl queue", which administer the queue of a fleet. The queue of the daemon is
// another one: see queuecommands.go.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"pawl/downloader/failure"
	"pawl/downloader/fleet"
)

// QueueCmd administers the queue of a fleet.
type QueueCmd struct {
	Status QueueStatusCmd `cmd:"" help:"Print the runs of a fleet, its workers, the hosts at their limit, and what is tried again."`
	Pause  QueuePauseCmd  `cmd:"" help:"Let the workers of a fleet begin no more files of a run."`
	Resume QueueResumeCmd `cmd:"" help:"Let the workers of a fleet continue a paused run."`
	Cancel QueueCancelCmd `cmd:"" help:"Stop a run of a fleet for good; the files that are done stay."`
	Delete QueueDeleteCmd `cmd:"" help:"Delete all that the queue keeps of a run that has ended or was cancelled, and no file."`
	Limit  QueueLimitCmd  `cmd:"" help:"Limit how many connections and requests the whole fleet may use for a host; without arguments, print all limits."`
	Report QueueReportCmd `cmd:"" help:"Report how the files of a run of a fleet ended, with the exit code that the run on one machine would have."`
	Check  QueueCheckCmd  `cmd:"" help:"Check whether a NATS server can be the queue of a fleet: its version, what it keeps, its clock, and your permissions."`
	QueueOptions
}

// QueueStatusCmd prints how far runs are.
type QueueStatusCmd struct {
	ID string `arg:"" optional:"" name:"run" placeholder:"RUN" help:"Run to print; all if none is named. The first digits of its ID are enough."`
}

// QueuePauseCmd pauses a run.
type QueuePauseCmd struct {
	runArgument
	Now bool `typed:"" env:"-" help:"Interrupt the files that are being fetched, too. They continue later where they are (default: let them end)."`
}

// QueueResumeCmd continues a run.
type QueueResumeCmd struct{ runArgument }

// QueueCancelCmd stops a run for good.
type QueueCancelCmd struct{ runArgument }

// QueueDeleteCmd deletes a run.
type QueueDeleteCmd struct{ runArgument }

// QueueLimitCmd changes the limits of hosts.
type QueueLimitCmd struct {
	Limits []limitChange `arg:"" optional:"" name:"limit" placeholder:"HOST=N,R/s" help:"Most connections (N) to each port of HOST, and requests to it per second (R/s), or one of both. HOST may have a port, and may be *.DOMAIN, or * for all other hosts. HOST=off removes the limit. Workers follow within seconds."`
	For    string        `name:"run" typed:"" env:"-" placeholder:"RUN" help:"Change the limits of RUN, as given to pawl mirror, which end with it (default: those that stay for all runs). Of several limits of a host the strictest counts."`
}

// QueueReportCmd reports a run.
type QueueReportCmd struct {
	runArgument
	Report string `typed:"" env:"-" placeholder:"FILE" type:"path" help:"Write a JSON report with the outcome of each file to FILE, as that of pawl mirror."`
	Failed string `typed:"" env:"-" placeholder:"FILE" type:"path" help:"Write the missing files to FILE, as a list that mirror can read."`
	Wait   bool   `typed:"" env:"-" help:"Wait until the run has ended (default: report what has ended by now; files that have not are pending)."`
}

// QueueCheckCmd checks a server.
type QueueCheckCmd struct {
	QueueMonitor string `placeholder:"URL" help:"Also ask the monitoring port of the server, such as http://127.0.0.1:8222. Only there pawl sees whether a power cut can cost anything."`
}

// runArgument is the argument of commands that are about one run.
type runArgument struct {
	ID string `arg:"" name:"run" placeholder:"RUN" help:"ID of the run, see pawl queue status; its first digits are enough."`
}

// queueTimeout is how long the queue may not answer a command. A guess: servers of a cluster elect another leader
// within seconds. With half of it, a slow disk would fail commands; double makes people wonder whether pawl hangs.
const queueTimeout = time.Minute

// errQueueSilent is the cause of a context that has ended by queueTimeout.
var errQueueSilent = errors.New("the queue does not answer")

// withQueue calls f with a connection to the queue, and ends it. f has queueTimeout unless it is patient.
func (c *QueueCmd) withQueue(ctx context.Context, out *printer, patient bool, f func(context.Context, fleet.Broker) error) (err error) {
	if !patient {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, queueTimeout, errQueueSilent)
		defer stop()
	}
	defer func() {
		if cause := context.Cause(ctx); err != nil && cause != nil {
			err = cause
		}
	}()
	b, err := c.connect(ctx, out)
	if err != nil {
		return err
	}
	defer b.Close()
	if err = f(ctx, b); errors.Is(err, failure.ErrAuth) { // the user may not do that
		err = queueError{err}
	}
	return err
}

// runID matches the ID of a run.
var runID = regexp.MustCompile(`^[0-9a-f]{16}-[0-9]+$`)

// refuseRuns returns an error if a word for a download of this machine is a run of a fleet, with the command for
// that.
func refuseRuns(command string, words []string) error {
	for _, word := range words {
		if _, err := os.Lstat(word); err != nil && runID.MatchString(word) {
			return &settingError{fmt.Sprintf("%q", word), "is a run of a fleet", "type: pawl queue " + command + " " + word}
		}
	}
	return nil
}

// listRuns returns all runs, the oldest first.
func listRuns(ctx context.Context, b fleet.Broker) ([]fleet.Run, error) {
	runs, err := fleet.ListRuns(ctx, b)
	if errors.Is(err, fleet.ErrNoRun) { // there has never been one, and this user cannot begin one
		return nil, nil
	}
	return runs, err
}

// findRun returns the run with that ID, or the only one whose ID begins so.
func findRun(ctx context.Context, b fleet.Broker, id string) (fleet.Run, error) {
	runs, err := listRuns(ctx, b)
	if err != nil {
		return fleet.Run{}, err
	}
	var found []fleet.Run
	for _, r := range runs {
		if r.ID == id {
			return r, nil
		}
		if id != "" && strings.HasPrefix(r.ID, id) {
			found = append(found, r)
		}
	}
	name := fmt.Sprintf("run %q", id)
	switch len(found) {
	case 0:
		return fleet.Run{}, &settingError{name, "is not in the queue of the fleet", "see its runs with: pawl queue status"}
	case 1:
		return found[0], nil
	}
	return fleet.Run{}, &settingError{name, fmt.Sprintf("could be %d runs", len(found)), "type more of the ID, or all; see: pawl queue status"}
}

// change finds the run, and calls f with its ID.
func (a runArgument) change(ctx context.Context, q *QueueCmd, out *printer, f func(context.Context, fleet.Broker, fleet.Run) error) error {
	return q.withQueue(ctx, out, false, func(ctx context.Context, b fleet.Broker) error {
		run, err := findRun(ctx, b, a.ID)
		if err != nil {
			return err
		}
		err = f(ctx, b, run)
		switch {
		case errors.Is(err, fleet.ErrComplete):
			return &settingError{fmt.Sprintf("run %q", run.ID), "has ended", "see how its files ended with: pawl queue report " + run.ID}
		case errors.Is(err, fleet.ErrNoRun):
			return &settingError{fmt.Sprintf("run %q", run.ID), "has just been deleted", "see the other runs with: pawl queue status"}
		}
		return err
	})
}

// setControl pauses, continues or cancels the run, with the name of the user as the reason. It returns the
// ID of the run.
func (a runArgument) setControl(ctx context.Context, q *QueueCmd, out *printer, control fleet.Control, now bool) (id string, err error) {
	return id, a.change(ctx, q, out, func(ctx context.Context, b fleet.Broker, run fleet.Run) error {
		id = run.ID
		reason := ""
		if control != fleet.Running {
			reason = "by " + whoAmI()
		}
		return fleet.SetControl(ctx, b, id, control, now, reason)
	})
}

// whoAmI returns the user and the machine, for other administrators.
func whoAmI() string {
	name := "somebody"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += " at " + host
	}
	return name
}

// Run pauses the run.
func (c *QueuePauseCmd) Run(ctx context.Context, q *QueueCmd, out *printer) error {
	id, err := c.setControl(ctx, q, out, fleet.Paused, c.Now)
	if err == nil {
		rest := "the files that are being fetched will end"
		if c.Now {
			rest = "the workers stop at once"
		}
		out.note("run %s is paused, and %s; continue it with: pawl queue resume %s", id, rest, id)
	}
	return err
}

// Run continues the run.
func (c *QueueResumeCmd) Run(ctx context.Context, q *QueueCmd, out *printer) error {
	id, err := c.setControl(ctx, q, out, fleet.Running, false)
	if err == nil {
		out.note("run %s goes on", id)
	}
	return err
}

// Run stops the run.
func (c *QueueCancelCmd) Run(ctx context.Context, q *QueueCmd, out *printer) error {
	id, err := c.setControl(ctx, q, out, fleet.Cancelled, true)
	if err == nil {
		out.note("run %s is cancelled; forget it with: pawl queue delete %s; the same pawl mirror would fetch what is missing", id, id)
	}
	return err
}

// Run deletes the run from the queue.
func (c *QueueDeleteCmd) Run(ctx context.Context, q *QueueCmd, out *printer) error {
	return c.change(ctx, q, out, func(ctx context.Context, b fleet.Broker, run fleet.Run) error {
		over, err := isOver(ctx, b, run)
		if err != nil {
			return err
		}
		if !over {
			return &settingError{fmt.Sprintf("run %q", run.ID), "has not ended", "stop it first, with: pawl queue cancel " + run.ID}
		}
		if err := fleet.DeleteRun(ctx, b, run.ID); err != nil {
			return err
		}
		out.note("run %s is deleted from the queue; its files stay", run.ID)
		return nil
	})
}

// isOver reports whether no worker has anything left to do for a run, although perhaps nobody has collected it.
func isOver(ctx context.Context, b fleet.Broker, run fleet.Run) (bool, error) {
	if run.State == fleet.Complete || run.Control == fleet.Cancelled {
		return true, nil
	}
	s, err := fleet.StatusOf(ctx, b, run.ID)
	return err == nil && allEnded(s), err
}

// Run writes the report.
func (c *QueueReportCmd) Run(ctx context.Context, g *Globals, q *QueueCmd, out *printer) error {
	return q.withQueue(ctx, out, true, func(ctx context.Context, b fleet.Broker) error {
		run, err := findRun(ctx, b, c.ID)
		if err != nil {
			return err
		}
		return runReport{Report: c.Report, Failed: c.Failed, Wait: c.Wait}.run(ctx, g, out, b, run.ID)
	})
}

// A limitChange is an argument of pawl queue limit: a new limit of hosts, or the end of one.
type limitChange struct {
	hosts string           // such as "*.example.org:443", in the form of fleet.HostLimit
	limit *fleet.HostLimit // nil for off
}

// UnmarshalText accepts the texts of fleet.HostLimit, and HOST=off.
func (c *limitChange) UnmarshalText(text []byte) error {
	hosts, off := strings.CutSuffix(strings.TrimSpace(string(text)), "=off")
	rule := new(fleet.HostLimit)
	if off {
		text = []byte(hosts + "=1")
	}
	if err := rule.UnmarshalText(text); err != nil {
		return err
	}
	*c = limitChange{hosts: hostsOf(*rule), limit: rule}
	if off {
		c.limit = nil
	}
	return nil
}

// hostsOf returns the text of the hosts that a rule is for.
func hostsOf(rule fleet.HostLimit) string {
	hosts, _, _ := strings.Cut(rule.String(), "=")
	return hosts
}

// Run changes the limits, or prints them.
func (c *QueueLimitCmd) Run(ctx context.Context, g *Globals, q *QueueCmd, out *printer) error {
	return q.withQueue(ctx, out, false, func(ctx context.Context, b fleet.Broker) error {
		owner := ""
		if c.For != "" {
			run, err := findRun(ctx, b, c.For)
			if err != nil {
				return err
			}
			owner = run.ID
		}
		if len(c.Limits) > 0 {
			return c.apply(ctx, b, owner, out)
		}
		return printLimits(ctx, g, b, c.For != "", owner, out)
	})
}

// apply changes the limits of an owner.
func (c *QueueLimitCmd) apply(ctx context.Context, b fleet.Broker, owner string, out *printer) error {
	var unknown []string
	err := fleet.ChangeLimits(ctx, b, owner, func(rules fleet.HostLimits) fleet.HostLimits {
		unknown = nil
		rules = slices.Clone(rules)
		for _, change := range c.Limits {
			n := len(rules)
			rules = slices.DeleteFunc(rules, func(r fleet.HostLimit) bool { return hostsOf(r) == change.hosts })
			switch {
			case change.limit != nil:
				rules = append(rules, *change.limit)
			case len(rules) == n:
				unknown = append(unknown, change.hosts)
			}
		}
		return rules
	})
	if err != nil {
		return err
	}
	for _, hosts := range unknown {
		out.warn("%q had no limit of its own; see: pawl queue limit", hosts)
	}
	return nil
}

// A limitRow is a limit: a line of the table, or an object of --json.
type limitRow struct {
	V     int    `json:"v"` // format version
	Hosts string `json:"hosts"`
	Limit string `json:"limit"`
	Run   string `json:"run,omitempty"` // whose end is the end of the limit; "" for a limit that stays
}

// printLimits prints the limits of one owner, or of all.
func printLimits(ctx context.Context, g *Globals, b fleet.Broker, one bool, owner string, out *printer) error {
	limits, err := fleet.ReadLimits(ctx, b)
	if err != nil {
		return err
	}
	owners := []string{owner}
	if !one {
		runs, err := listRuns(ctx, b)
		if err != nil {
			return err
		}
		for _, r := range runs {
			owners = append(owners, r.ID)
		}
	}
	var rows []limitRow
	for _, o := range owners {
		for _, rule := range limits.Of(o) {
			hosts, limit, _ := strings.Cut(rule.String(), "=")
			rows = append(rows, limitRow{1, hosts, limit, o})
		}
	}
	if g.JSON {
		return printJSONLines(out, rows)
	}
	if len(rows) == 0 {
		out.note("there are no limits: each host gets 16 connections of the whole fleet; change that with: pawl queue limit 'HOST=N,R/s'")
		return nil
	}
	w := tabwriter.NewWriter(out.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "HOST\tLIMIT\tOF")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\n", printable(r.Hosts), r.Limit, cmp.Or(r.Run, "all runs"))
	}
	return w.Flush()
}

// A checkRow is a problem of a server: an object of --json.
type checkRow struct {
	V       int    `json:"v"` // format version
	Problem string `json:"problem"`
}

// Run checks the server. Each problem is a line.
func (c *QueueCheckCmd) Run(ctx context.Context, g *Globals, q *QueueCmd, out *printer) error {
	options, err := q.nats(out)
	if err != nil {
		return err
	}
	options.Monitor = c.QueueMonitor
	ctx, stop := context.WithTimeoutCause(ctx, queueTimeout, errQueueSilent)
	defer stop()
	problems, err := checkServer(ctx, options)
	if err != nil {
		return err
	}
	var rows []checkRow
	for _, p := range problems {
		rows = append(rows, checkRow{1, p})
		if !g.JSON {
			if _, err := fmt.Fprintln(out.stdout, printable(p)); err != nil {
				return err
			}
		}
	}
	if g.JSON {
		if err := printJSONLines(out, rows); err != nil {
			return err
		}
	}
	switch {
	case len(problems) == 0:
		out.note("%q can be the queue of a fleet", q.Queue.String())
		return nil
	case c.QueueMonitor == "":
		out.note("for the port of the monitor, give --queue-monitor http://HOST:8222")
	}
	return exitCodeError(1)
}

// checkServer connects to the server, and returns its problems.
func checkServer(ctx context.Context, options fleet.NATSOptions) ([]string, error) {
	b, err := connectQueue(ctx, options)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	problems, err := b.Check(ctx)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return problems, err
}
