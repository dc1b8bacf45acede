package fleet_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pawl/downloader/fleet"
	"pawl/downloader/fleet/fakebroker"
	"pawl/downloader/fleet/natstest"
)

func TestTarget(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	if _, err := fleet.ReadTarget(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	ids := make([]string, 8)
	var all sync.WaitGroup
	for i := range ids {
		all.Go(func() {
			var err error
			if ids[i], err = fleet.PrepareTarget(dir); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, id := range ids {
		if got, err := fleet.ReadTarget(dir); err != nil || got != id || id == "" {
			t.Errorf("got %q and %q, %v", id, got, err)
		}
	}
	if names, _ := os.ReadDir(dir); len(names) != 1 {
		t.Errorf("%d files are left", len(names))
	}
	if err := os.WriteFile(filepath.Join(dir, ".pawl-target"), []byte("else\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := fleet.ReadTarget(dir); err == nil {
		t.Error("any text is taken as an ID")
	}
}

// TestTargetLock: a process refuses a directory in which it does not see the lock of a live process of another machine.
func TestTargetLock(t *testing.T) {
	for name, tt := range map[string]struct {
		host   string // of the other process
		target string
		change func(lock *fleet.TargetLock, dir string) // of the other process, after it has begun
		dies   bool
		ok     bool
	}{
		"seen":            {"other", testTarget, nil, false, true},
		"not seen":        {"other", testTarget, func(l *fleet.TargetLock, _ string) { l.Close() }, false, false},
		"same machine":    {"me", testTarget, func(l *fleet.TargetLock, _ string) { l.Close() }, false, true},
		"other directory": {"other", "fedcba9876543210", func(l *fleet.TargetLock, _ string) { l.Close() }, false, true},
		"killed": {"other", testTarget, func(l *fleet.TargetLock, dir string) {
			l.Close()
			os.WriteFile(filepath.Join(dir, ".pawl-fleet-"+l.Name()+".lock"), nil, 0o600)
		}, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			natstest.Bubble(t, func(t *testing.T) {
				broker := fakebroker.New()
				dir := t.TempDir()
				them, me := broker.Connect("them"), broker.Connect("me")
				defer me.Close()
				theirs, err := fleet.LockTarget(t.Context(), them, dir, tt.target, tt.host)
				if err != nil {
					t.Fatal(err)
				}
				s, err := fleet.OpenSession(t.Context(), them, fleet.SessionOptions{Host: tt.host, Worker: "w", Target: tt.target, Lock: theirs.Name()})
				if err != nil {
					t.Fatal(err)
				}
				if tt.change != nil {
					tt.change(theirs, dir)
				}
				if tt.dies {
					them.Kill()
				}
				began := time.Now()
				mine, err := fleet.LockTarget(t.Context(), me, dir, testTarget, "me")
				if (err == nil) != tt.ok || err != nil && (!errors.Is(err, fleet.ErrLocks) || !strings.Contains(err.Error(), "--local")) {
					t.Errorf("got %v", err)
				}
				if d := time.Since(began); d > fleet.DefaultLease+5*time.Second || tt.dies != (d > 20*time.Second) {
					t.Errorf("it took %v", d)
				}
				if mine != nil {
					mine.Close()
				}
				if names, _ := filepath.Glob(filepath.Join(dir, ".pawl-fleet-"+"*")); tt.change != nil && !tt.dies && len(names) > 0 {
					t.Errorf("left: %v", names)
				}
				them.Kill()
				s.Close(t.Context())
				theirs.Close()
				them.Close()
			})
		})
	}
}
