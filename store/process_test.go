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

// childEnv makes the test binary one of the processes of TestProcesses; its
// value is the directory to work in.
const childEnv = "PAWL_STORE_TEST_CHILD"

const (
	processes  = 8
	downloads  = 3 // of each process
	commits    = 8 // of each download
	commitSize = 5000
)

func TestMain(m *testing.M) {
	if state := os.Getenv(cycleEnv); state != "" {
		os.Exit(readCycle(state))
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

// runChild makes a few downloads into dir, once stdin has come to its end, and
// prints a line for each.
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

// sharedState is the state directory of all that work in a directory beside dir.
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

// childData returns the bytes of a target, which differ from process to process.
func childData(target string) []byte {
	return bytes.Repeat([]byte(target), commits*commitSize)[:commits*commitSize]
}

// Several processes begin at once where there is no state file yet, and work on
// it together; another one lists it meanwhile.
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
		stdin.Close() // go
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

// checkListed asserts of the records of running processes what can be.
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

// startChild starts a process that works in dir when the result is closed. Its
// output goes to lines, followed by an empty line when it has ended.
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
