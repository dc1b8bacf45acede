package main

// This file is the log of the daemon.

import (
	"context"
	"io"
	"log/slog"
	"os"
	"strings"

	"pawl/cmd/pawl/bytetext"
	"pawl/downloader"
	"pawl/downloader/queue"
	"pawl/downloader/weburl"
)

// newLog returns the log of the daemon: lines of text, or JSON objects with --json. The journal of systemd
// has its own times.
func newLog(g *Globals, to io.Writer) *slog.Logger {
	o := &slog.HandlerOptions{Level: slog.LevelInfo}
	switch {
	case g.Verbose:
		o.Level = slog.LevelDebug
	case g.Quiet:
		o.Level = slog.LevelWarn
	}
	if g.JSON {
		return slog.New(slog.NewJSONHandler(to, o))
	}
	if _, journal := os.LookupEnv("JOURNAL_STREAM"); journal {
		o.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey && len(groups) == 0 {
				return slog.Attr{}
			}
			return a
		}
	}
	return slog.New(slog.NewTextHandler(to, o))
}

// logLine logs a line of a printer.
func logLine(log *slog.Logger, line string) {
	line = strings.TrimPrefix(weburl.RedactText(line), "pawl: ")
	switch level, text, _ := strings.Cut(line, ": "); level {
	case "error":
		log.Error(text)
	case "warning":
		log.Warn(text)
	default:
		log.Info(line)
	}
}

// logEvents logs the events of the tasks until ctx ends.
func (d *daemonRun) logEvents(ctx context.Context, events <-chan queue.Event) {
	for ctx.Err() == nil {
		for e := range events {
			d.logEvent(e)
		}
		if ctx.Err() == nil {
			d.log.Warn("some events are not in the log, because there were too many")
			events = d.queue.Listen(ctx)
		}
	}
}

// logEvent logs an event of a task.
func (d *daemonRun) logEvent(e queue.Event) {
	level, t := slog.LevelInfo, e.Task
	switch e.Kind {
	case queue.FailedNow, queue.Delayed:
		level = slog.LevelWarn
	case queue.Moved, queue.Changed, queue.Forgotten:
		level = slog.LevelDebug
	}
	attrs := []slog.Attr{slog.String("id", string(t.ID))}
	if u := t.URL(); u != "" {
		attrs = append(attrs, slog.String("url", shortText(weburl.Redact(u))))
	}
	if t.Path != "" {
		attrs = append(attrs, slog.String("path", bytetext.Escape(t.Path)))
	}
	if e.Kind == queue.Finished && !t.List {
		attrs = append(attrs, slog.Int64("size", t.Size), slog.String("proof", string(t.Proof)))
	}
	if t.List && t.State.Ended() {
		attrs = append(attrs, slog.Int("files", t.Files.Listed), slog.Int("here", t.Files.Here), slog.Int("failed", t.Files.Failed))
	}
	if t.Reason != "" {
		attrs = append(attrs, slog.String("reason", shortText(printable(t.Reason))))
	}
	if t.Exit != 0 {
		attrs = append(attrs, slog.Int("exit", t.Exit))
	}
	d.log.LogAttrs(context.Background(), level, string(e.Kind), attrs...)
}

// onEvent logs the events of downloads that explain a delay or are warnings. logEvent logs the others, as
// events of tasks.
func (d *daemonRun) onEvent(e downloader.Event) {
	level := slog.LevelDebug
	switch e.Kind {
	case downloader.Warning, downloader.Lost, downloader.Restarted, downloader.Offline:
		level = slog.LevelWarn
	case downloader.Retrying, downloader.Waiting, downloader.Limited, downloader.Renamed:
	default:
		return
	}
	text := ""
	if e.Err != nil {
		text = printable(weburl.RedactText(e.Err.Error()))
	}
	d.log.LogAttrs(context.Background(), level, "download", slog.String("event", string(e.Kind)), slog.String("id", string(e.ID)),
		slog.String("url", shortText(weburl.Redact(e.URL))), slog.String("error", shortText(text)))
}
