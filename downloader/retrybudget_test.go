package downloader

import (
	"math"
	"testing"
	"time"

	"pawl/downloader/failure"
)

// The backoff doubles up to its maximum, with a jitter of a quarter. The budget counts
// consecutive failures, and received bytes refill it.
func TestRetryBudget(t *testing.T) {
	const rounds = 300
	for i, want := range []time.Duration{1, 2, 4, 8, 10, 10} {
		want *= time.Second
		low, high := time.Duration(math.MaxInt64), time.Duration(0)
		for range rounds {
			b := retryBudget{tries: 6, minWait: time.Second, maxWait: 10 * time.Second, failures: i}
			n, wait, again := b.failed(nil, b.tries)
			if n != i+1 || again != (i < 5) {
				t.Fatalf("failure %d of 6: got count %d, again %v", i+1, n, again)
			}
			low, high = min(low, wait), max(high, wait)
		}
		if low < want*3/4 || high > want*5/4 {
			t.Errorf("backoff %d: got %v to %v, want %v ± 25%%", i+1, low, high, want)
		}
		if low > want*9/10 || high < want*11/10 {
			t.Errorf("backoff %d: got %v to %v, want more jitter", i+1, low, high)
		}
	}
	b := retryBudget{tries: 3, minWait: 1, maxWait: 1}
	for range 10 { // with progress after each pair of failures, the budget lasts for ever
		b.failed(nil, b.tries)
		if n, _, again := b.failed(nil, b.tries); n != 2 || !again {
			t.Fatalf("after progress: got count %d, again %v, want 2, true", n, again)
		}
		b.received(1 << 40)
	}
}

// Without a limit of tries, the backoff stays within its bounds after any number of failures,
// and does not overflow.
func TestRetryBudgetEndless(t *testing.T) {
	for _, minWait := range []time.Duration{1, time.Millisecond, time.Second, 20 * time.Second, time.Minute, time.Hour} {
		func() {
			b := retryBudget{minWait: minWait, maxWait: 2 * time.Hour}
			defer func() {
				if r := recover(); r != nil {
					t.Errorf("first backoff %v, failure %d: panic: %v", minWait, b.failures, r)
				}
			}()
			for i := range 100 {
				n, wait, again := b.failed(nil, b.tries)
				if n != i+1 || wait < minWait*3/4 || wait > b.maxWait*5/4 || !again {
					t.Fatalf("first backoff %v, failure %d: got count %d, backoff %v, again %v", minWait, i+1, n, wait, again)
				}
			}
		}()
	}
}

// Each failure by silence doubles the timeout, up to maxSilenceTimeout. Other failures do not
// change it, and received bytes do not reset it.
func TestRetryBudgetSilence(t *testing.T) {
	b := retryBudget{tries: 100, minWait: 1, maxWait: 1, timeout: 30 * time.Second}
	for _, want := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, maxSilenceTimeout, maxSilenceTimeout} {
		if got := b.silenceTimeout(); got != want {
			t.Errorf("got timeout %v, want %v", got, want)
		}
		b.failed(failure.ErrSilent, b.tries)
		b.received(1 << 40)
		before := b.silenceTimeout()
		if b.failed(errScripted, b.tries); b.silenceTimeout() != before {
			t.Errorf("after another failure: got timeout %v, want %v", b.silenceTimeout(), before)
		}
	}
	long := retryBudget{minWait: 1, maxWait: 1, timeout: time.Hour}
	if long.failed(failure.ErrSilent, 0); long.silenceTimeout() != time.Hour {
		t.Errorf("after silence: got timeout %v, want %v", long.silenceTimeout(), time.Hour)
	}
}
