package main

import (
	"strings"
	"testing"
)

func TestSummaryLines(t *testing.T) {
	tests := []struct {
		s    summary
		want string
	}{
		{summary{}, "the lists name no files"},
		{summary{More: true}, "no file was read from the lists\nthe lists were not read to their end"},
		{summary{Problems: 2}, "no file was read from the lists\n2 lines of the lists cannot be used"},
		{summary{Problems: 3, Unread: 1}, "no file was read from the lists\n1 list cannot be read, 2 lines of the lists cannot be used"},
		{summary{Files: 3, Current: 1, Pending: 2, Pruned: 1, DryRun: true}, "1 of 3 files are here: 1 already here\n2 would be fetched\n1 would be deleted"},
		{summary{Files: 2, Failed: 2, Failures: map[int]int{8: 2, 4: 0}}, "0 of 2 files are here\n2 failed: HTTP error"},
		{summary{Files: 1, Fetched: 1, Bytes: 10 << 20, Seconds: 2}, "the one file is here: 1 fetched, 10.0 MiB received in 2.0s (5.0 MiB/s)"},
		{summary{Files: 3, Current: 2, Unchanged: 1}, "all 3 files are here: 2 already here, 1 checked and unchanged"},
		{summary{Files: 1, Pending: 1}, "0 of 1 file is here\n1 is left for another run"},
		{summary{Files: 2, Failed: 2, Bytes: 100}, "0 of 2 files are here: 100 B received in 0.0s (97.7 KiB/s)\n2 failed"},
		{summary{Files: 1, Fetched: 1, More: true}, "1 of the 1 file read so far is here: 1 fetched\nthe lists were not read to their end"},
		{
			summary{Files: 205, Fetched: 150, Current: 40, Failed: 10, Pending: 5, Problems: 1, More: true, Bytes: 1 << 30, Seconds: 250, Failures: map[int]int{8: 7, 4: 1, 32: 1, 9: 0, 99: 1}},
			"190 of the 205 files read so far are here: 150 fetched, 40 already here, 1.0 GiB received in 4m10s (4.1 MiB/s)\n" +
				"10 failed: 7 HTTP error, 1 network, 1 checksum mismatch, 1 exit code 99\n" +
				"5 are left for another run\n1 line of the lists cannot be used\nthe lists were not read to their end",
		},
	}
	for _, tt := range tests {
		if got := strings.Join(summaryLines(tt.s), "\n"); got != tt.want {
			t.Errorf("%+v: got\n%s\nwant\n%s", tt.s, got, tt.want)
		}
	}
}

// TestFailureKindsHaveNames checks that each exit code of a failure has a name.
func TestFailureKindsHaveNames(t *testing.T) {
	for _, k := range exitKinds {
		if failureNames[k.code] == "" {
			t.Errorf("exit code %d has no name", k.code)
		}
	}
}
