package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pawl/downloader"
	"pawl/store"
)

// TestLateStream checks that a stream whose write hung until the run was closed does not run a
// hook, print an error or change the report when it fails at last.
func TestLateStream(t *testing.T) {
	st, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	report := filepath.Join(t.TempDir(), "report")
	ctx, cancel := context.WithCancelCause(t.Context())
	var said strings.Builder
	out := &printer{stderr: &said}
	b := &batch{
		options: &Transfer{ResultOptions: ResultOptions{OnError: "echo run", Report: report}}, out: out, store: state{Store: st}, streams: true,
		requests: []downloader.Request{{URL: "no URL", Into: downloader.Stream{Writer: &said}}}, ended: make(map[int]bool),
	}
	if b.recorder, err = b.options.newRecorder(ctx, out, reportHeader{}); err != nil {
		t.Fatal(err)
	}
	cancel(errDeadline)
	if err := b.close(ctx); !errors.Is(err, errDeadline) {
		t.Errorf("got %v, want %v", err, errDeadline)
	}
	said.Reset()
	before, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	d := downloader.New(st, downloader.Options{})
	defer d.Close()
	b.downloadOne(t.Context(), d, 0, b.requests[0]) // fails, for another reason than the end of ctx
	if after, _ := os.ReadFile(report); string(after) != string(before) || said.Len() > 0 || len(b.failures) != 1 {
		t.Errorf("got the message %q, the report\n%s\nand the failures %v, want no change", said.String(), after, b.failures)
	}
}
