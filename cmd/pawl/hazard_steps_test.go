package main

import (
	"slices"
	"strings"
	"syscall"

	"pawl/downloader/faultserver"
)

// This file has steps that several groups of hazards have in common.

// interruptUnder is interrupt with the faults, which stay, and slower, so that
// little of what was sent is lost.
func (tr *testRun) killHalfwayUnder(faults ...faultserver.Fault) {
	tr.Helper()
	tr.srv.Set(append(slices.Clone(faults), faultserver.Rate(16<<20))...)
	if o := tr.signalAt(tr.fileSize/4+tr.rand.Int64N(tr.fileSize/2), syscall.SIGKILL); o.code != -1 {
		tr.Fatalf("exit %d before it was killed", o.code)
	}
	tr.srv.Set(faults...)
}

// changing runs the program, calls do when 1 MiB of a body was sent, and then
// cuts that. The hazard is met by whatever is asked for after that. At the pace
// early that is the first body, before there is another connection.
func (tr *testRun) runWithChange(do func(), pace faultserver.Fault, args ...string) runResult {
	tr.Helper()
	asked := make(chan int, 1)
	tr.srv.Set(faultserver.CutAt(1<<20, func() {
		do()
		asked <- len(tr.srv.Requests())
	}), pace)
	o := tr.runPawl(args...)
	select {
	case n := <-asked:
		tr.wantRequest(n, "after the change", func(faultserver.Request) bool { return true })
	default:
		tr.Errorf("nothing has changed")
	}
	return o
}

func firstConnRate() faultserver.Fault { return faultserver.Rate(32 << 20) }

// meets says that the hazard was met if one of the requests but the first n is
// as wanted; else it is an error.
func (tr *testRun) wantRequest(n int, what string, wanted func(faultserver.Request) bool) {
	tr.Helper()
	if all := tr.srv.Requests(); n < 0 || !slices.ContainsFunc(all[min(n, len(all)):], wanted) {
		tr.Errorf("no request %s", what)
		return
	}
	tr.markMet()
}

// beyondStart reports whether a part was asked for that is not the first.
func isLaterRange(r faultserver.Request) bool {
	return r.Range != "" && !strings.HasPrefix(r.Range, "bytes=0-")
}
