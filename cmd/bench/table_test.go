package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMedian(t *testing.T) {
	tests := []struct {
		all  []float64
		want float64
	}{
		{nil, 0}, {[]float64{3}, 3}, {[]float64{4, 1}, 2.5}, {[]float64{9, 1, 2}, 2}, {[]float64{9, 1, 4, 2}, 3}, {[]float64{5, 5, 1, 9, 7}, 5},
	}
	for _, test := range tests {
		if got := median(test.all); got != test.want {
			t.Errorf("median of %v: got %v, want %v", test.all, got, test.want)
		}
	}
}

// newRow returns a row whose runs took the given seconds. It is a pawl's if the name
// begins with "pawl".
func newRow(name string, conns int, walls ...float64) *row {
	r := &row{Tool: name, contender: contender{command{maxConns: conns}, tool{Name: name, isPawl: strings.HasPrefix(name, "pawl")}}}
	for _, wall := range walls {
		r.Runs = append(r.Runs, result{Wall: wall, CPU: wall / 2, RSS: 10 * mib, Conns: int64(conns)})
	}
	return r
}

// TestPrintTable checks the printed table, and with which peer each row is compared.
func TestPrintTable(t *testing.T) {
	r := &workloadResult{Name: "throttle", Title: "slow", Amount: "1 GiB", Bytes: gib, Limit: 2, Limit32: 1, Rows: []*row{
		newRow("pawl", 16, 3, 1, 2), newRow("pawl32", 32, 4), newRow("one", 1, 10), newRow("few", 16, 5, 3), newRow("many", 32, 2),
		newRow("bare", 1, 0.5), newRow("broken", 1, 1),
	}}
	r.Rows[6].Failed, r.LeftOut = "exit status 1: no", []string{"a", "b -x"}
	r.Rows[3].Runs[0].Refused = 4
	r.Rows[3].Runs[1].Refused = 6
	r.Rows[6].Runs = nil
	const want = `
**throttle**: slow, 1 GiB; limit 2.00 s with 16 connections, 1.00 s with 32

medians of 3:

|        | wall s |     from–to | × best peer | × limit | CPU s/GiB | RSS MiB | conns | refused |
|--------|-------:|------------:|------------:|--------:|----------:|--------:|------:|--------:|
| pawl   |   2.00 |   1.00–3.00 |        0.50 |    1.00 |      1.00 |      10 |    16 |         |
| pawl32 |   4.00 |   4.00–4.00 |        2.00 |    4.00 |      2.00 |      10 |    32 |         |
| one    |  10.00 | 10.00–10.00 |        2.50 |    5.00 |      5.00 |      10 |     1 |         |
| few    |   4.00 |   3.00–5.00 |        1.00 |    2.00 |      2.00 |      10 |    16 |       5 |
| many   |   2.00 |   2.00–2.00 |        1.00 |    2.00 |      1.00 |      10 |    32 |         |
| bare   |   0.50 |   0.50–0.50 |        0.12 |    0.25 |      0.25 |      10 |     1 |         |

failed: broken: exit status 1: no

skipped: a, b -x
`
	var got strings.Builder
	r.print(&got)
	if got.String() != want {
		t.Errorf("got %s\nwant %s", got.String(), want)
	}
	r.work.AnyConns = true
	if got := r.bestPeerTime(r.Rows[0].contender); got != 2 {
		t.Errorf("best peer with any number of connections: got %v, want 2", got)
	}
	r.NotRun = "no free space"
	got.Reset()
	r.print(&got)
	if !strings.HasSuffix(got.String(), "\n\nnot run: no free space\n") {
		t.Errorf("got %s", got.String())
	}
}

func TestReportFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "r.json")
	r := newReport(options{rounds: 3}, []tool{{Name: "pawl", Path: "/p", Version: "1"}})
	r.Works = []*workloadResult{{Name: "wan", Rows: []*row{newRow("pawl", 16, 1.5)}}}
	if err := r.write(file); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(file)
	var got struct {
		V, Rounds int
		Tools     []struct{ Name, Version string }
		Works     []struct {
			Name string
			Rows []struct {
				Tool string
				Runs []struct {
					Wall float64 `json:"wall_s"`
				}
			}
		}
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got.V != 1 || got.Rounds != 3 || got.Tools[0].Name != "pawl" || got.Works[0].Rows[0].Runs[0].Wall != 1.5 {
		t.Errorf("got %s", text)
	}
}

func TestBytesText(t *testing.T) {
	for n, want := range map[int64]string{4 * gib: "4 GiB", 1536 * mib: "1536 MiB", 16 * kib: "16 KiB"} {
		if got := bytesText(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}
