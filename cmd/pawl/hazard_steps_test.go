package main

import (
	"slices"
	"strings"

	"pawl/downloader/faultserver"
)

// This file has steps that several groups of hazards share.

// killHalfwayUnder is killHalfway on a server with faults, which stay set afterwards.
func (tr *testRun) killHalfwayUnder(faults ...faultserver.Fault) {
	tr.Helper()
	tr.srv.Set(append(slices.Clone(faults), faultserver.Rate(32<<20))...)
	tr.killOnceRecorded(tr.halfway())
	tr.srv.Set(faults...)
}

// runWithChange runs pawl. When 1 MiB of a body has been sent it calls do, which changes
// the server, and cuts that body. The hazard is met by any request after the change. At
// the pace of firstConnRate the cut body is the first one, because pawl has not opened a
// second connection by then.
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
		tr.Errorf("no body reached 1 MiB, so nothing has changed")
	}
	return o
}

// firstConnRate limits the server so that it sends 1 MiB before pawl opens a second
// connection. It is 32 MiB/s for all connections together.
func firstConnRate() faultserver.Fault { return faultserver.Rate(32 << 20) }

// wantRequest marks the hazard as met if a request after the first n matches wanted.
// Otherwise the test fails. what completes the message "no request ...".
func (tr *testRun) wantRequest(n int, what string, wanted func(faultserver.Request) bool) {
	tr.Helper()
	if all := tr.srv.Requests(); n < 0 || !slices.ContainsFunc(all[min(n, len(all)):], wanted) {
		tr.Errorf("no request %s", what)
		return
	}
	tr.markMet()
}

// isLaterRange reports whether the request is for a range that does not start at byte 0.
func isLaterRange(r faultserver.Request) bool {
	return r.Range != "" && !strings.HasPrefix(r.Range, "bytes=0-")
}
