package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"pawl/downloader/failure"
	"pawl/downloader/mirror"
)

// TestScheduledShard checks which shard --shard auto means, by the variables of the schedulers.
func TestScheduledShard(t *testing.T) {
	slurm := func(id, first, last, count, step string) map[string]string {
		return map[string]string{slurmID: id, slurmMin: first, slurmMax: last, slurmCount: count, slurmStep: step}
	}
	kubernetes := func(index, count string) map[string]string {
		return map[string]string{kubernetesIndex: index, shardsVariable: count}
	}
	for _, tt := range []struct {
		env  map[string]string
		want string // the shard, or a part of the error
	}{
		{slurm("0", "0", "15", "16", "1"), "1/16"},
		{slurm("15", "0", "15", "16", "1"), "16/16"},
		{slurm("3", "1", "16", "16", "1"), "3/16"},
		{slurm("3", "1", "7", "4", "2"), "2/4"},
		{slurm("30", "10", "40", "4", "10"), "3/4"},
		{slurm("5", "5", "5", "1", "1"), "1/1"},
		{slurm("5", "4", "", "3", ""), "2/3"}, // without MAX and STEP
		{slurm("5", "1", "9", "3", "1"), "not evenly spaced"},
		{slurm("4", "1", "7", "4", "2"), "not evenly spaced"},
		{slurm("17", "1", "16", "16", "1"), "not evenly spaced"},
		{slurm("0", "1", "16", "16", "1"), "not evenly spaced"},
		{slurm("7", "0", "15", "4", "1"), "not evenly spaced"},
		{slurm("1", "", "16", "16", "1"), "SLURM_ARRAY_TASK_MIN is not set"},
		{slurm("1", "1", "16", "", "1"), "SLURM_ARRAY_TASK_COUNT is not set"},
		{slurm("x", "1", "16", "16", "1"), `SLURM_ARRAY_TASK_ID is "x"`},
		{slurm("1", "1", "-1", "16", "1"), `SLURM_ARRAY_TASK_MAX is "-1"`},
		{slurm("1", "1", "0", "0", "1"), "number of shards"},
		{kubernetes("0", "16"), "1/16"},
		{kubernetes("15", "16"), "16/16"},
		{kubernetes("16", "16"), "no shard 17 of 16"},
		{kubernetes("0", ""), "PAWL_SHARDS is not set"},
		{kubernetes("0", "many"), `PAWL_SHARDS is "many"`},
		{kubernetes("0", "0"), "number of shards"},
		{kubernetes("", "16"), "neither"},
		{map[string]string{}, "neither"},
		{map[string]string{slurmID: "1", kubernetesIndex: "0"}, "both set"},
	} {
		got, err := scheduledShard(func(name string) string { return tt.env[name] })
		text := got.String()
		if err != nil {
			text = err.Error()
		}
		if text != tt.want && (err == nil || !strings.Contains(text, tt.want)) {
			t.Errorf("%v: got %q, want %q", tt.env, text, tt.want)
		}
	}
}

// TestDivide checks that the limits of all shards add up to the limits of the command line, and that
// each shard gets something.
func TestDivide(t *testing.T) {
	for _, tt := range []struct {
		shards, connections int
		rate                string
		by                  mirror.ShardBy
		fails               string
	}{
		{5, 16, "100", mirror.ByPath, ""},
		{16, 16, "16/m", mirror.ByPath, ""},
		{3, 4, "10.5", mirror.ByPath, ""},
		{7, 100, "off", mirror.ByPath, ""},
		{17, 16, "off", mirror.ByPath, "--connections 16"},
		{4, 16, "3", mirror.ByPath, "--max-request-rate 3"},
		{4, 16, "0.5", mirror.ByPath, "--max-request-rate 0"},
		{17, 16, "3", mirror.ByHost, ""},
	} {
		var rate requestRate
		if err := rate.UnmarshalText([]byte(tt.rate)); err != nil {
			t.Fatal(err)
		}
		connections, requests := 0, 0.0
		for i := range tt.shards {
			c := MirrorCmd{ShardOptions: ShardOptions{shard{mirror.Shard{Index: i + 1, Count: tt.shards}}, tt.by}}
			c.Connections, c.MaxRequestRate = connLimit(tt.connections), rate
			err := c.divide()
			if (err == nil) != (tt.fails == "") || err != nil && (!errors.Is(err, failure.ErrUsage) || !strings.HasPrefix(err.Error(), tt.fails) || !strings.Contains(hint(err, ""), "--shard-by host")) {
				t.Fatalf("%+v: got %v", tt, err)
			}
			if err != nil {
				break
			}
			if tt.by == mirror.ByHost && (int(c.Connections) != tt.connections || c.MaxRequestRate != rate) {
				t.Errorf("%+v: shard %d has %d connections and %v", tt, i+1, c.Connections, c.MaxRequestRate)
			}
			connections, requests = connections+int(c.Connections), requests+c.MaxRequestRate.requests
		}
		if tt.by == mirror.ByPath && tt.fails == "" && (connections != tt.connections || requests != rate.requests) {
			t.Errorf("%+v: the shards have %d connections and %v requests", tt, connections, requests)
		}
	}
}

// withoutTimes returns the parts of a report that do not depend on the time, on the order of the
// files and on the shard.
func (r readReport) withoutTimes() string {
	r.Started, r.Ended, r.Summary.Seconds = time.Time{}, time.Time{}, 0
	for i := range r.Files {
		r.Files[i].Seconds = 0
	}
	slices.SortFunc(r.Files, func(a, b reportFile) int { return strings.Compare(a.Path, b.Path) })
	return strings.ReplaceAll(fmt.Sprintf("%+v", r), "}", "}\n")
}

// TestSixteenShards checks that 16 shards at the same time, each with a state directory of its own, or
// with one of all, give the same files and the same merged report as one run.
func TestSixteenShards(t *testing.T) {
	sampled(t, 8)
	skipUnderRace(t)
	t.Parallel()
	const shards = 16
	s := newSite(t)
	names := s.addMany(80, func(i int) int64 { return int64(10 * i) })
	lines := append(s.urls(names...), s.urls("none", "f0003")...)
	s.writeList("list", append(lines, "nonsense", s.srv.URL+"/f0005", "  out=sub/f", s.srv.URL+"/f0001", "  out=sub/f", s.srv.URL+"/f0006", "  out=../f")...)
	s.runMirror("-q", "--state", "one", "--report", "whole", "list").wantExit(8)
	s.wantFiles()
	want := s.report("whole").withoutTimes()
	states := []struct {
		kind string
		most int // processes at a time: many of them wait for one state file
	}{{"own", shards}, {"shared", 4}}
	for _, st := range sample(2, states) {
		kind, most := st.kind, st.most
		must(s.testRun, os.RemoveAll(filepath.Join(s.dir, "out")))
		s.srv.Reset()
		var running []*pawlProcess
		var reports []string
		for i := range shards {
			reports = append(reports, fmt.Sprintf("%s.%d", kind, i+1))
			state := "state"
			if kind == "own" {
				state = fmt.Sprintf("state.%d", i+1)
			}
			running = append(running, s.startMirror("-q", "--state", state, "--shard", fmt.Sprintf("%d/%d", i+1, shards), "--report", reports[i], "list"))
			if len(running) == most {
				for _, r := range running {
					r.wait()
				}
				running = nil
			}
		}
		s.wantFiles()
		s.wantFileCount(len(names) + 1)
		for name, n := range s.requestCounts() {
			if n > 1 && !slices.Contains([]string{"f0001", "f0002", "f0005", "none"}, name) {
				s.Errorf("%s: %d requests", name, n)
			}
		}
		s.runPawl(append([]string{"report", "merge", "-q", "-o", kind}, reports...)...).wantExit(8)
		if got := s.report(kind).withoutTimes(); got != want {
			s.Errorf("%s: the merged report is\n%s\nwant\n%s", kind, got, want)
		}
	}
}

// TestMergeProblems checks that a list that no shard can read is one problem of the merged report,
// as of one run, and that a list that only one shard cannot read is one, too.
func TestMergeProblems(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.addMany(6, sameSize(10))
	s.writeListOfAll("list")
	s.writeList("empty")
	s.runMirror("-q", "--report", "whole", "list", "none", "empty", s.srv.URL+"/none").wantExit(3)
	for i := range 2 {
		s.runMirror("-q", "--shard", fmt.Sprintf("%d/2", i+1), "--report", fmt.Sprint(i), "list", "none", "empty", s.srv.URL+"/none").wantExit(3)
	}
	s.runPawl("report", "merge", "0", "1", "-o", "merged").wantExit(3).wantStderr("2 lists cannot be read, 1 list names no files\n")
	whole, merged := s.report("whole"), s.report("merged")
	if !slices.Equal(whole.Problems, merged.Problems) || merged.Summary.Problems != 3 {
		s.Errorf("got %+v and %+v, want %+v", merged.Problems, merged.Summary, whole.Problems)
	}
	s.runMirror("-q", "--shard", "1/2", "--report", "0", "list").wantExit(0)
	s.runMirror("-q", "--shard", "2/2", "--report", "1", "list").wantExit(0)
	s.runPawl("report", "merge", "1", "0").wantExit(0).wantStderr("all 6 files are here: 6 already here\n")
}

// TestMergeMemory checks that a merge does not hold the entries of a report in memory. It is not
// parallel, because it measures the memory of this process.
func TestMergeMemory(t *testing.T) {
	sampled(t, 8)
	skipUnderRace(t)
	const files, size = 20_000, 1000
	path := filepath.Join(t.TempDir(), "report")
	entry := `{"path":"/d/f","url":"` + strings.Repeat("x", size) + `","outcome":"current","size":1}`
	text := "{\"v\":1,\"files\":[\n" + strings.Repeat(entry+",\n", files-1) + entry + "],\n\"problems\":[],\n\"summary\":{\"files\":20000},\n\"ended\":\"2026-03-31T02:00:00Z\"}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := newReport(path+".merged", reportHeader{})
	if err != nil {
		t.Fatal(err)
	}
	defer out.abort()
	m := reportMerger{out: out}
	n, held := 0, []uint64(nil)
	in := reportReader{problem: m.addProblem, file: func(raw json.RawMessage) error {
		if n++; n == 1000 || n == files {
			var stats runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&stats)
			held = append(held, stats.HeapAlloc)
		}
		return m.addFile(raw)
	}}
	if err := in.readFile(path); err != nil || n != files || in.summary.Files != files {
		t.Fatalf("%d files, %+v, %v", n, in.summary, err)
	}
	if held[1] > held[0]+files*size/4 {
		t.Errorf("%d files of %d bytes need %d bytes of memory", files, size, held[1]-held[0])
	}
}

// TestShardKeys checks that the run of a report depends on what must be the same in all shards, and
// on nothing else.
func TestShardKeys(t *testing.T) {
	key := func(change func(*MirrorCmd)) (run, lock string) {
		c := MirrorCmd{Lists: []string{"/a", "https://u:p@h/b"}, Dir: "/d", ShardOptions: ShardOptions{Shard: shard{mirror.Shard{Index: 1, Count: 4}}}}
		change(&c)
		return c.shardRun(), c.lockKey()
	}
	first, firstLock := key(func(*MirrorCmd) {})
	same := map[string]func(*MirrorCmd){
		"shard":    func(c *MirrorCmd) { c.Shard.Index = 3 },
		"order":    func(c *MirrorCmd) { slices.Reverse(c.Lists) },
		"password": func(c *MirrorCmd) { c.Lists[1] = "https://u:q@h/b" },
	}
	other := map[string]func(*MirrorCmd){
		"count": func(c *MirrorCmd) { c.Shard.Count = 5 },
		"by":    func(c *MirrorCmd) { c.ShardBy = mirror.ByHost },
		"dir":   func(c *MirrorCmd) { c.Dir = "/e" },
		"lists": func(c *MirrorCmd) { c.Lists[0] = "/c" },
		"name":  func(c *MirrorCmd) { c.ListName = "n" },
	}
	all := maps.Clone(same)
	maps.Copy(all, other)
	for name, change := range all {
		run, lock := key(change)
		if _, isSame := same[name]; (run == first) != isSame {
			t.Errorf("%s: the same run: %v, want %v", name, run == first, isSame)
		}
		if isShard := name == "shard" || other[name] != nil; (lock != firstLock) != isShard {
			t.Errorf("%s: another lock: %v, want %v", name, lock != firstLock, isShard)
		}
	}
}
