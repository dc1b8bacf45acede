package downloader

import (
	"math"
	"testing"
	"time"

	"pawl/downloader/failure"
)

// TestRetryBudget: waits double up to the longest, within a quarter of it; tries
// are counted, and progress refills them.
func TestRetryBudget(t *testing.T) {
	const rounds = 300
	for i, want := range []time.Duration{1, 2, 4, 8, 10, 10} {
		want *= time.Second
		low, high := time.Duration(math.MaxInt64), time.Duration(0)
		for range rounds {
			p := retryBudget{tries: 6, minWait: time.Second, maxWait: 10 * time.Second, failures: i}
			n, wait, again := p.failed(nil, p.tries)
			if n != i+1 || again != (i < 5) {
				t.Fatalf("failure %d of 6: got number %d, again %v", i+1, n, again)
			}
			low, high = min(low, wait), max(high, wait)
		}
		if low < want*3/4 || high > want*5/4 {
			t.Errorf("wait %d: got %v to %v, want %v ± 25 %%", i+1, low, high, want)
		}
		if low > want*9/10 || high < want*11/10 {
			t.Errorf("wait %d: got %v to %v, want jitter", i+1, low, high)
		}
	}
	p := retryBudget{tries: 3, minWait: 1, maxWait: 1}
	for range 10 { // a byte now and then is enough to go on for ever
		p.failed(nil, p.tries)
		if n, _, again := p.failed(nil, p.tries); n != 2 || !again {
			t.Fatalf("after progress: got failure %d, again %v, want 2, true", n, again)
		}
		p.received(1 << 40)
	}
}

// TestRetryBudgetEndless: a server may be away for days, whatever the waits are.
func TestRetryBudgetEndless(t *testing.T) {
	for _, first := range []time.Duration{1, time.Millisecond, time.Second, 20 * time.Second, time.Minute, time.Hour} {
		func() {
			p := retryBudget{minWait: first, maxWait: 2 * time.Hour}
			defer func() {
				if r := recover(); r != nil {
					t.Errorf("first wait %v, failure %d: panic: %v", first, p.failures, r)
				}
			}()
			for i := range 100 {
				n, wait, again := p.failed(nil, p.tries)
				if n != i+1 || wait < first*3/4 || wait > p.maxWait*5/4 || !again {
					t.Fatalf("first wait %v, failure %d: got number %d, wait %v, again %v", first, i+1, n, wait, again)
				}
			}
		}()
	}
}

// TestRetryBudgetSilence: each failure by silence doubles the time for the next try, up to a
// limit; other failures do not, and bytes do not take it back.
func TestRetryBudgetSilence(t *testing.T) {
	p := retryBudget{tries: 100, minWait: 1, maxWait: 1, timeout: 30 * time.Second}
	for _, want := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, maxSilenceTimeout, maxSilenceTimeout} {
		if got := p.silenceTimeout(); got != want {
			t.Errorf("got %v, want %v", got, want)
		}
		p.failed(failure.ErrSilent, p.tries)
		p.received(1 << 40)
		before := p.silenceTimeout()
		if p.failed(errScripted, p.tries); p.silenceTimeout() != before {
			t.Errorf("%v became %v because the server broke off", before, p.silenceTimeout())
		}
	}
	long := retryBudget{minWait: 1, maxWait: 1, timeout: time.Hour}
	if long.failed(failure.ErrSilent, 0); long.silenceTimeout() != time.Hour {
		t.Errorf("a timeout of an hour became %v", long.silenceTimeout())
	}
}
