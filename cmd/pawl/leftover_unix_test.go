//go:build unix

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"pawl/downloader/faultserver"
)

// TestLeftoverOfRealPrograms ends curl, wget and aria2c when they have half of a file, and has pawl -c
// fetch the rest. With PAWL_TEST_SERVERS=required a missing program fails the test.
func TestLeftoverOfRealPrograms(t *testing.T) {
	sampled(t, 8)
	t.Parallel()
	aria := []string{"aria2c", "--no-conf", "-q", "-x4", "-s4", "-k1M", "--disk-cache=0", "-o", "f.bin"}
	for _, tt := range []struct {
		name string
		args []string
		end  os.Signal
	}{
		{"curl", []string{"curl", "-q", "-s", "-o", "f.bin"}, syscall.SIGKILL},
		{"wget", []string{"wget", "--no-config", "-q", "-O", "f.bin"}, syscall.SIGKILL},
		{"aria2c killed", aria, syscall.SIGKILL},
		{"aria2c stopped", append(aria[:len(aria):len(aria)], "--file-allocation=none"), syscall.SIGTERM},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := exec.LookPath(tt.args[0]); err != nil {
				if os.Getenv("PAWL_TEST_SERVERS") == "required" {
					t.Fatal(err)
				}
				t.Skip(err)
			}
			dir, f := t.TempDir(), faultserver.NewFile(leftoverSize, 3)
			srv := faultserver.New()
			defer srv.Close()
			srv.Put("f.bin", f)
			cmd := exec.Command(tt.args[0], append(tt.args[1:], srv.URL+"/f.bin")...)
			cmd.Dir = dir
			gone := make(chan struct{})
			srv.Set(faultserver.Rate(16 << 20)) // so that HoldAt comes in time
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			go func() {
				cmd.Wait()
				close(gone)
			}()
			srv.HoldAt(leftoverSize/2, gone)
			if tt.end == syscall.SIGKILL { // otherwise the program writes the rest
				waitFor(t, func() bool { return sameBlocks(t, dir, f) >= leftoverSize/2-3<<18 })
			}
			if err := cmd.Process.Signal(tt.end); err != nil {
				t.Fatal(err)
			}
			<-gone
			srv.Open()
			srv.Set()
			srv.WaitIdle()
			srv.Reset()
			missing := leftoverSize - sameBlocks(t, dir, f)
			if missing > leftoverSize*3/4 || missing < leftoverSize/4 {
				t.Fatalf("%d of %d bytes are missing, want about half", missing, leftoverSize)
			}
			pawlOK(t, dir, "-c", "-x", "1", srv.URL+"/f.bin")
			checkFile(t, filepath.Join(dir, "f.bin"), f)
			if got := srv.Sent(); got > missing+1<<20 {
				t.Errorf("the server sent %d bytes, want at most %d and 1 MiB", got, missing)
			}
			if names, _ := filepath.Glob(filepath.Join(dir, "f.bin*")); fmt.Sprint(names) != fmt.Sprintf("[%s]", filepath.Join(dir, "f.bin")) {
				t.Errorf("got files %q, want f.bin alone", names)
			}
		})
	}
}

// sameBlocks returns how many bytes of f.bin are those of f, counted in blocks of 4 KiB.
func sameBlocks(t *testing.T, dir string, f faultserver.File) (n int64) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(dir, "f.bin"))
	if err != nil {
		return 0
	}
	want, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size))
	if err != nil {
		t.Fatal(err)
	}
	for off := 0; off+4096 <= min(len(got), len(want)); off += 4096 {
		if bytes.Equal(got[off:off+4096], want[off:off+4096]) {
			n += 4096
		}
	}
	return n
}
