package main

import (
	"flag"
	"math/rand/v2"
	"os"
	"testing"
)

// Two variables of the environment choose how much the tests do. Without them a sample of the long
// tables runs, which is what a developer waits for. PAWL_TEST_ALL=1 runs the whole tables, the
// further random samples, and a few expensive measurements, as CI does. PAWL_TEST_LONG=1 also
// makes lists, kills and waits as large as they are in practice, which takes an hour.

// allTests reports whether the whole tables run.
func allTests() bool { return os.Getenv("PAWL_TEST_ALL") != "" || longTests() }

// chosenTests reports whether all that was chosen runs, and no sample of it.
func chosenTests() bool { return allTests() || flag.Lookup("test.run").Value.String() != "" }

// sample returns one in n of the rows of a table, in random order and another part in each run. It
// returns all of them with PAWL_TEST_ALL=1, and if -run chooses tests. Under the race detector,
// which makes each start of the program slow, the part is half as large.
//
// It is for tables whose rows start the program, each for a fault of its own in the same code. A
// row that fails is named by the test, and -run repeats it.
func sample[R any](n int, rows []R) []R {
	if chosenTests() {
		return rows
	}
	if raceEnabled {
		n *= 2
	}
	part := make([]R, 0, len(rows)/n+1)
	for _, i := range rand.Perm(len(rows))[:(len(rows)+n-1)/n] {
		part = append(part, rows[i])
	}
	return part
}

// sampled skips a test in all but one of n runs, as if the tests were the rows of a table. It is for
// tests that start the program, or several programs, again and again. As for sample, all of them run with
// PAWL_TEST_ALL=1, and those that -run chooses.
func sampled(t *testing.T, n int) {
	t.Helper()
	if !chosenTests() && rand.IntN(n) > 0 {
		t.Skip("not in the sample, and PAWL_TEST_ALL is not set")
	}
}

// skipExpensive skips a test that takes seconds of CPU time and runs only with PAWL_TEST_ALL=1.
func skipExpensive(t *testing.T) {
	t.Helper()
	if !allTests() {
		t.Skip("PAWL_TEST_ALL is not set")
	}
}

// longTests reports whether the tests have the sizes of practice.
func longTests() bool { return os.Getenv("PAWL_TEST_LONG") != "" }

// skipUnderRace skips a test whose memory or time the race detector would multiply. It is for tests
// that measure, and for those that start the program many times for what it does in one
// goroutine.
func skipUnderRace(t *testing.T) {
	t.Helper()
	if raceEnabled {
		t.Skip("the race detector multiplies its memory or its time")
	}
}
