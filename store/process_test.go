package store

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"pawl/chunk"
)

// childEnv makes the test binary a child process of TestProcesses. Its value is the
// directory to work in.
const childEnv = "PAWL_STORE_TEST_CHILD"

const (
	processes  = 8
	downloads  = 3 // per process
	commits    = 8 // per download
	commitSize = 5000
)

func TestMain(m *testing.M) {
	if state := os.Getenv(cycleEnv); state != "" {
		os.Exit(readCycle(state))
	}
	if dir := os.Getenv(adoptEnv); dir != "" {
		os.Exit(adoptUntilKilled(dir))
	}
	if dir := os.Getenv(handoffEnv); dir != "" {
		os.Exit(handOverUntilKilled(dir))
	}
	dir := os.Getenv(childEnv)
	if dir == "" {
		os.Exit(m.Run())
	}
	if err := runChild(dir, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// runChild makes some downloads into dir once stdin is closed, and prints a line for
// each.
func runChild(dir string, stdin io.Reader, stdout io.Writer) error {
	s, err := Open(sharedState(dir), Options{Warn: func(msg string) { fmt.Fprintln(stdout, "warning:", msg) }})
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, stdin); err != nil {
		return err
	}
	for n := range downloads {
		if err := childDownload(s, filepath.Join(dir, fmt.Sprint("file", n))); err != nil {
			return err
		}
		fmt.Fprintln(stdout, "done")
	}
	return nil
}

// sharedState returns the state directory that all processes share; their directories are
// next to it.
func sharedState(dir string) string { return filepath.Join(filepath.Dir(dir), "state") }

func childDownload(s *Store, target string) error {
	data := childData(target)
	p, err := s.Create(Record{URL: "https://example.com/" + filepath.Base(target), Target: target, Size: int64(len(data))})
	if err != nil {
		return err
	}
	for n := range commits {
		r := chunk.Range{Off: int64(n) * commitSize, End: int64(n+1) * commitSize}
		_, err := p.WriteAt(data[r.Off:r.End], r.Off)
		if err := errors.Join(err, p.Commit(int64(n))); err != nil {
			return err
		}
	}
	return errors.Join(p.Finish(time.Time{}), p.Close())
}

// childData returns the content of a target, which differs between processes.
func childData(target string) []byte {
	return bytes.Repeat([]byte(target), commits*commitSize)[:commits*commitSize]
}

// Several processes start at once without a state file and work on it at the same time.
// Another one lists the records meanwhile.
func TestProcesses(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(sharedState(filepath.Join(dir, "0")), Options{})
	must(t, err)
	lines := make(chan string)
	var stdins []io.Closer
	for n := range processes {
		stdins = append(stdins, startChild(t, filepath.Join(dir, fmt.Sprint(n)), lines))
	}
	for _, stdin := range stdins {
		stdin.Close() // starts the work
	}
	for running := processes; running > 0; {
		switch line := <-lines; line {
		case "done":
			checkListed(t, s)
		case "":
			running--
		default:
			t.Error(line)
		}
	}
	records, err := s.Records()
	if err != nil || len(records) != processes*downloads {
		t.Fatalf("Records: got %d, %v, want %d", len(records), err, processes*downloads)
	}
	for _, rec := range records {
		got, err := os.ReadFile(rec.Target)
		if err != nil || !bytes.Equal(got, childData(rec.Target)) {
			t.Errorf("%s: got %d bytes, %v, want its own %d", rec.Target, len(got), err, commits*commitSize)
		}
		if rec.State != Done || rec.Held.Len() != rec.Size || !s.Intact(rec) {
			t.Errorf("record: got %+v, want it done and intact", rec)
		}
		if got, err := s.ByTarget(rec.Target); err != nil || got.ID != rec.ID {
			t.Errorf("ByTarget: got %s, %v, want %s", got.ID, err, rec.ID)
		}
	}
}

// checkListed checks the records of running processes.
func checkListed(t *testing.T, s *Store) {
	t.Helper()
	records, err := s.Records()
	if err != nil {
		t.Errorf("Records: %v", err)
	}
	for _, rec := range records {
		if rec.Held.Prefix() != rec.Held.Len() || rec.Held.Len()%commitSize != 0 {
			t.Errorf("held: got %s, want the first commits", rec.Held)
		}
	}
}

// startChild starts a process that works in dir once the result is closed. Its output
// goes to lines, followed by an empty line when it has ended.
func startChild(t *testing.T, dir string, lines chan<- string) io.Closer {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	cmd.Stderr = cmd.Stdout
	must(t, cmd.Start())
	go func() { // joined by the empty line
		for sc := bufio.NewScanner(stdout); sc.Scan(); {
			lines <- sc.Text()
		}
		if err := cmd.Wait(); err != nil {
			lines <- fmt.Sprintf("process in %s: %v", dir, err)
		}
		lines <- ""
	}()
	return stdin
}
