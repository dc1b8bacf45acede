package store

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// madeElsewhere returns the record of file n, which another machine has finished in dir.
func madeElsewhere(dir string, n int) Record {
	return Record{
		ID: NewID(), URL: fmt.Sprintf("https://example.com/data/%08d.gz", n), Target: filepath.Join(dir, "data", fmt.Sprintf("%08d.gz", n)),
		Size: int64(n), ETag: `"66f1c0a2-4e20"`, LastModified: "Thu, 29 Feb 2024 23:59:59 GMT", Type: "application/gzip", CRC: uint32(n + 1),
		Lists: Lists{"0123456789abcdef"}, ModTime: time.Unix(1_700_000_000, int64(n)), Created: time.Unix(1_800_000_000, 0),
	}
}

// AdoptAll records files without looking at them, joins the claims on each target, and keeps the checksums of a
// file that this machine has downloaded itself. To do it again changes nothing.
func TestAdoptAll(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(t.TempDir(), Options{Root: dir})
	must(t, err)
	claimed := madeElsewhere(dir, 1)
	claimed.State, claimed.Lists = Done, Lists{Nameless, "aaaaaaaaaaaaaaaa"}
	own := finished(t, s, dir, "own", make([]byte, 3<<20))
	updated := finished(t, s, dir, "updated", make([]byte, 1<<20))
	must(t, s.write(func(t tx) error { return t.put(&claimed) }))
	p, err := s.Create(Record{URL: "http://h/2", Target: madeElsewhere(dir, 2).Target, Size: 10, Lists: Lists{"bbbbbbbbbbbbbbbb"}})
	must(t, err)
	_, err = p.WriteAt(make([]byte, 5), 0)
	must(t, err, p.Commit(0), p.Close())

	records := []Record{madeElsewhere(dir, 0), madeElsewhere(dir, 1), madeElsewhere(dir, 2), own, updated}
	records[0].ID, records[0].Created = "../x", time.Time{}
	records[0].Publishing, records[0].State = true, Failed
	records[1].Lists = nil
	records[4].ModTime = updated.ModTime.Add(time.Hour)
	for range 2 {
		must(t, s.AdoptAll(records))
		all, err := s.Records()
		if err != nil || len(all) != len(records) {
			t.Fatalf("got %d records, %v, want %d", len(all), err, len(records))
		}
		for i, want := range records {
			got, err := s.ByTarget(want.Target)
			if err != nil || got.State != Done || !got.ID.IsValid() || got.ID != want.ID || got.CRC != want.CRC || got.ETag != want.ETag || got.Size != want.Size || !got.ModTime.Equal(want.ModTime) || got.Publishing || got.Created.Year() < 2020 {
				t.Errorf("file %d: got %+v, %v, want %+v", i, got, err, want)
			}
			if byURL, err := s.ByURL(filepath.Dir(want.Target), want.URL); err != nil || byURL.ID != got.ID {
				t.Errorf("file %d by its URL: got %s, %v", i, byURL.ID, err)
			}
		}
	}
	if _, err := s.Get(p.Record().ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("the unfinished download: got %v, want it gone", err)
	}
	for i, want := range []string{"0123456789abcdef", "- aaaaaaaaaaaaaaaa", "0123456789abcdef bbbbbbbbbbbbbbbb", "", ""} {
		if got := records[i].Lists.String(); got != want {
			t.Errorf("file %d: got the claims %q, want %q", i, got, want)
		}
	}
	if damaged, err := s.Damaged(t.Context(), records[3], own.Target); err != nil || damaged.Len() > 0 {
		t.Errorf("its own file: got damage %v, %v", damaged, err)
	}
	if _, err := s.Damaged(t.Context(), records[4], updated.Target); !errors.Is(err, ErrNoSums) {
		t.Errorf("another version of its own file: got %v, want ErrNoSums", err)
	}
}

// A record that cannot be adopted does not keep the others out.
func TestAdoptAllHostile(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(t.TempDir(), Options{Root: dir})
	must(t, err)
	p, err := s.Create(Record{URL: "http://h/x", Target: filepath.Join(dir, "data", "x"), Size: 10})
	must(t, err)
	defer p.Close()
	records := []Record{madeElsewhere(dir, 0)}
	for _, target := range []string{dir, "", "data/x", filepath.Dir(dir), dir + "/../x", dir + "/a\x00", dir + "/a/", p.name} {
		r := madeElsewhere(dir, 1)
		r.Target = target
		records = append(records, r)
	}
	wrong := len(records)
	for range 4 {
		records = append(records, madeElsewhere(dir, len(records)))
	}
	records[wrong].Size = -1
	records[wrong+1].Lists = Lists{"x y"}
	records[wrong+2].ID = p.Record().ID // of a running download
	err = s.AdoptAll(records)
	if !errors.Is(err, ErrPartFile) || errors.Is(err, ErrState) {
		t.Errorf("got %v, want ErrPartFile", err)
	}
	for i, r := range records {
		good := i == 0 || i > wrong+1
		if _, err := s.ByTarget(r.Target); r.Target != "" && errors.Is(err, ErrNotFound) == good {
			t.Errorf("record %d, %q: got %v, want it recorded %t", i, r.Target, err, good)
		}
	}
	if rec, err := s.Get(p.Record().ID); err != nil || rec.State != Active {
		t.Errorf("the running download: got %s, %v", rec.State, err)
	}
	must(t, s.AdoptAll(nil))
}

// Forget deletes entries, not files, and only of the records that it is given.
func TestForget(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(t.TempDir(), Options{})
	must(t, err)
	a, b := finished(t, s, dir, "a", make([]byte, 2<<20)), finished(t, s, dir, "b", []byte("b"))
	adopted := []Record{b}
	must(t, s.AdoptAll(adopted)) // by a submitter with the same state directory
	must(t, s.Forget([]Record{a, b, madeElsewhere(dir, 1)}), s.Forget(nil))
	if _, err := s.ByTarget(a.Target); !errors.Is(err, ErrNotFound) || !s.Exists(a) {
		t.Errorf("got %v, file there %t, want only the file", err, s.Exists(a))
	}
	if _, err := s.Get(a.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("by its ID: got %v", err)
	}
	must(t, s.read(func(tx tx) error {
		if n := len(tx.pages(a.ID)); n > 0 {
			t.Errorf("got %d pages of checksums of a forgotten file", n)
		}
		return nil
	}))
	if rec, err := s.ByTarget(b.Target); err != nil || rec.ID != adopted[0].ID {
		t.Errorf("the adopted file: got %s, %v, want it kept", rec.ID, err)
	}
}

// adoptEnv makes the test binary the child process of TestAdoptAllKilled. Its value is the directory to work in.
const adoptEnv = "PAWL_STORE_TEST_ADOPT"

const adoptGroup = 300

// adoptUntilKilled adopts one group after the other, and prints the number of each.
func adoptUntilKilled(dir string) int {
	s, err := Open(filepath.Join(dir, "state"), Options{})
	for group := 0; err == nil && group < 1000; group++ {
		records := make([]Record, adoptGroup)
		for i := range records {
			records[i] = madeElsewhere(dir, group*adoptGroup+i)
		}
		if err = s.AdoptAll(records); err == nil {
			fmt.Println(group)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// A process is killed while it adopts. What it has reported is on record, and of no group only a part.
func TestAdoptAllKilled(t *testing.T) {
	dir := memDir(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), adoptEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	must(t, err)
	cmd.Stderr = os.Stderr
	must(t, cmd.Start())
	defer cmd.Process.Kill()
	lines := bufio.NewScanner(out)
	last, end := -1, 3+rand.IntN(5)
	read := func() (more bool) {
		if more = lines.Scan(); more {
			last, err = strconv.Atoi(lines.Text())
			must(t, err)
		}
		return more
	}
	for last < end && read() {
	}
	time.Sleep(time.Duration(rand.IntN(10)) * time.Millisecond) // any moment of a transaction
	cmd.Process.Kill()
	for read() {
	}
	io.Copy(io.Discard, out)
	cmd.Wait()
	s, err := Open(filepath.Join(dir, "state"), Options{Warn: func(msg string) { t.Error(msg) }})
	must(t, err)
	n := 0
	for rec, err := range s.Finished("") {
		must(t, err)
		if want := madeElsewhere(dir, n); rec.Target != want.Target || rec.CRC != want.CRC {
			t.Fatalf("record %d: got %+v", n, rec)
		}
		n++
	}
	if n%adoptGroup != 0 || n < (last+1)*adoptGroup {
		t.Errorf("got %d records, want whole groups of %d, and the %d groups that were reported", n, adoptGroup, last+1)
	}
}

// BenchmarkAdoptAll adopts groups of 4,096: in the order of the list but for the 64 batches of 256 that are in work at once,
// and in no order at all.
func BenchmarkAdoptAll(b *testing.B) {
	for _, bench := range []struct {
		name   string
		window int
	}{{"list", 64 * 256}, {"random", 1 << 20}} {
		b.Run(bench.name, func(b *testing.B) {
			dir := b.TempDir()
			s, err := Open(filepath.Join(dir, "state"), Options{Root: dir})
			if err != nil {
				b.Fatal(err)
			}
			var order []int
			n := 0
			for b.Loop() {
				b.StopTimer()
				records := make([]Record, 4096)
				for i := range records {
					if len(order) == 0 {
						order = rand.Perm(bench.window)
					}
					records[i] = madeElsewhere(dir, n/bench.window*bench.window+order[0])
					order = order[1:]
					n++
				}
				b.StartTimer()
				if err := s.AdoptAll(records); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
		})
	}
}
