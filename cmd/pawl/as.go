package main

// This file runs the command lines of other tools: package dropin translates them into command lines of
// pawl, which pawl's own parser reads.

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"pawl/cmd/pawl/dropin"
	"pawl/downloader/failure"
	"pawl/downloader/list"
	"pawl/store"
)

// AsCmd runs the command line of another tool.
type AsCmd struct {
	Words []string `arg:"" name:"tool" placeholder:"TOOL" help:"aria2c, curl, wget or axel, and its arguments; see pawl help as."`
}

// withTool returns the arguments of pawl for the name of the program: for example "as curl ARGS…" for a
// link called pawl-curl.
func withTool(program string, args []string) []string {
	if tool := dropin.ToolOf(filepath.Base(program)); tool != "" {
		return append([]string{"as", tool}, args...)
	}
	return args
}

// Run translates the command line and does its runs. The exit code is the one that the tool would have.
func (c *AsCmd) Run(ctx context.Context, g *Globals, out *printer) error {
	tool, args := c.Words[0], c.Words[1:]
	if tool == "--help" || tool == "-h" {
		text, _, err := helpOn(nil, []string{"as"})
		if err != nil {
			return err
		}
		_, err = io.WriteString(out.stdout, text)
		return err
	}
	plan, err := dropin.Translate(tool, args, dropinEnv())
	if err != nil {
		return usageErr{err}
	}
	if plan.Text != "" {
		_, err := io.WriteString(out.stdout, plan.Text)
		return err
	}
	r := asRun{tool: tool, globals: g, out: out}
	if plan.Silent {
		r.out = &printer{stdout: out.stdout, stderr: io.Discard}
	}
	for _, w := range plan.Warnings {
		r.out.warn("%s", printable(w))
	}
	code := 0
	for _, run := range plan.Runs {
		o, err := r.do(ctx, run)
		if err != nil {
			return err
		}
		if _, err := io.WriteString(out.stdout, run.Report(o)); err != nil {
			return err
		}
		code = dropin.Combine(tool, code, o.Code)
		if o.Code != 0 && (plan.FailEarly || ctx.Err() != nil) {
			break
		}
	}
	if code == 0 {
		return nil
	}
	return reportedError{exitCodeError(code)}
}

// dropinEnv gives package dropin access to files and variables.
func dropinEnv() dropin.Env {
	return dropin.Env{
		ReadFile: readConfigFile,
		Exists: func(path string) bool {
			_, err := os.Lstat(path)
			return err == nil
		},
		Getenv:  os.Getenv,
		Expand:  expandURL,
		Version: version(),
	}
}

// maxConfigBytes limits a configuration file or a list of URLs of another tool, which is read as a whole. A
// list of a million URLs has about 100 MB; those lists are for pawl mirror.
const maxConfigBytes = 64 << 20

// readConfigFile reads a file, or standard input for "-".
func readConfigFile(path string) ([]byte, error) {
	in := os.Stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxConfigBytes+1))
	if err == nil && len(text) > maxConfigBytes {
		err = errors.New("it is too large; see: pawl mirror LIST")
	}
	return text, err
}

// expandURL returns the URLs of a URL with patterns such as [1-20].
func expandURL(url string) ([]string, error) {
	n, err := list.Count(url)
	if err != nil {
		return nil, err
	}
	if n > maxPatternURLs {
		return nil, errors.New("a pattern stands for too many URLs")
	}
	urls, err := list.Expand(url)
	if err != nil {
		return nil, err
	}
	return slices.Collect(urls), nil
}

// An asRun does the runs of a plan.
type asRun struct {
	tool    string
	globals *Globals
	out     *printer
}

// do does one run. An error is one of the translation itself.
func (r asRun) do(ctx context.Context, run dropin.Run) (o dropin.Outcome, err error) {
	stream := &streamWriter{Writer: r.out.stdout} // which is no terminal any more: the tools write to terminals, too
	out := &printer{stdout: io.Discard, stderr: r.out.stderr, look: lookOf(r.out.stderr, r.globals.NoColor)}
	if run.Stream {
		out.stdout = stream
	}
	args := slices.Concat(run.Args[:1], r.globals.arguments(), run.Args[1:])
	app, parsed, err := parse(out, args, os.Environ())
	if err == nil {
		err = checkGuards(args)
	}
	if err != nil {
		return o, usageErr{&dropin.RefusedError{Tool: r.tool, Text: trimCommand(err.Error())}}
	}
	if out.quiet = app.cli.Quiet; !app.cli.Verbose {
		out.repeats = new(repeats)
	}
	started := time.Now()
	err = runCommand(ctx, parsed, &app.cli.Globals)
	out.reportExit(err)
	o = dropin.Outcome{Status: statusOf(err), Code: r.exitCode(err), Bytes: stream.n, Seconds: time.Since(started).Seconds()}
	if info, statErr := os.Stat(run.File); statErr == nil && err == nil && info.Mode().IsRegular() {
		o.Bytes = info.Size()
	}
	return o, nil
}

// exitCode returns the exit code with which the tool reports an error.
func (r asRun) exitCode(err error) int {
	s, interrupted := asSignal(err)
	switch {
	case err == nil:
		return 0
	case interrupted && (r.tool == "aria2c" || r.tool == "axel"):
		return dropin.ExitCode(r.tool, dropin.Interrupted)
	case interrupted:
		return 128 + int(s.Signal)
	}
	return dropin.ExitCode(r.tool, failureOf(err))
}

// statusOf returns the HTTP status of a run: 200 if it has succeeded, in however many parts, and 0 if no
// status is known.
func statusOf(err error) int {
	var status *failure.StatusError
	switch {
	case err == nil:
		return 200
	case errors.As(err, &status):
		return status.Code
	}
	return 0
}

// A streamWriter counts the bytes that are written through it.
type streamWriter struct {
	io.Writer
	n int64
}

func (w *streamWriter) Write(b []byte) (int, error) {
	n, err := w.Writer.Write(b)
	w.n += int64(n)
	return n, err
}

// arguments returns the options for the state directory and the configuration file, as they were given
// before "as".
func (g *Globals) arguments() (args []string) {
	if g.State != "" {
		args = append(args, "--state="+g.State)
	}
	if g.Config != "" {
		args = append(args, "--config="+g.Config)
	}
	if g.NoConfig {
		args = append(args, "--no-config")
	}
	return args
}

// statusFailures are the failures of HTTP statuses that a tool has an exit code for.
var statusFailures = map[int]dropin.Failure{401: dropin.WrongUser, 407: dropin.WrongProxyUser, 404: dropin.NotFound, 503: dropin.Busy}

// failureKinds maps kinds of errors to failures. The first match counts.
var failureKinds = []struct {
	is      condition
	failure dropin.Failure
}{
	{is(failure.ErrUsage, store.ErrNotFound), dropin.Usage},
	{is(failure.ErrChecksum), dropin.WrongDigest},
	{is(store.ErrNoSpace, syscall.ENOSPC, syscall.EDQUOT), dropin.DiskFull},
	{is(store.ErrForeign, failure.ErrClaimed), dropin.FileExists},
	{is(store.ErrBusy), dropin.InUse},
	{is(failure.ErrChanged), dropin.FileChanged},
	{is(failure.ErrTooLarge), dropin.TooLarge},
	{both(is(failure.ErrAuth), as[*failure.ProxyError]()), dropin.WrongProxyUser},
	{is(failure.ErrAuth), dropin.WrongUser},
	{as[*failure.StatusError](), dropin.HTTPError},
	{is(failure.ErrThrottled), dropin.Busy},
	{isLocalFile, dropin.CannotCreate},
	{as[*outputError](), dropin.CannotWrite},
	{is(failure.ErrRedirects), dropin.TooManyHops},
	{either(as[*tls.CertificateVerificationError](), either(as[x509.UnknownAuthorityError](), as[x509.HostnameError]())), dropin.BadCertificate},
	{is(failure.ErrTLS), dropin.TLSFailure},
	{is(failure.ErrTrickle), dropin.TooSlow},
	{is(failure.ErrSilent, errDeadline), dropin.Timeout},
	{isCut, dropin.CutBody},
	{is(failure.ErrProtocol), dropin.ProtocolError},
	{isTimeout, dropin.Timeout},
	{func(f hintSubject) bool { return failure.IsUnknownHost(f.err) }, dropin.UnknownHost},
	{is(syscall.ECONNREFUSED, syscall.EHOSTUNREACH, syscall.ENETUNREACH), dropin.NoConnection},
	{is(failure.ErrNetwork), dropin.BrokenTransfer},
}

// isCut reports whether the server closed the connection before the end of a response, in order.
func isCut(f hintSubject) bool {
	return errors.Is(f.err, failure.ErrCut) || failure.IsBrokenOff(f.err) && !errors.Is(f.err, syscall.ECONNRESET)
}

// isTimeout reports whether a time limit of the network has passed.
func isTimeout(f hintSubject) bool {
	var n net.Error
	return errors.As(f.err, &n) && n.Timeout()
}

// failureOf returns the kind of an error for dropin. The error of a list may have only an exit code.
func failureOf(err error) dropin.Failure {
	var status *failure.StatusError
	if errors.As(err, &status) {
		if f, ok := statusFailures[status.Code]; ok {
			return f
		}
	}
	for _, k := range failureKinds {
		if k.is(hintSubject{err: err}) {
			return k.failure
		}
	}
	var code exitCodeError
	errors.As(err, &code)
	return dropin.FailureOf(int(code))
}
