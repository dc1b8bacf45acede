package downloader

import (
	"context"
	"math"
	"net/http"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

// A verdict is the next step after an attempt to send a request.
type verdict struct {
	again bool          // send the request again
	wait  time.Duration // before that
	limit bool          // the host refused one of several connections, which is no failure of the host
}

// sendUntil sends req until judge is content, and returns the last response, with any status.
// The caller must close its body, and must resume a body that breaks off: the retries end at
// the header. Once an attempt had no response, further ones use the client retry.
//
// go-retryablehttp is the policy for one exchange. It gets a client of its own for each
// request, with judge as the whole policy, because its own one ignores the limits of hosts,
// has no jitter, and waits for as long as a Retry-After says.
func sendUntil(hc, retry *http.Client, req *http.Request, judge func(*http.Response, error) verdict) (*http.Response, error) {
	var v verdict
	var rc retryablehttp.Client
	rc = retryablehttp.Client{
		HTTPClient: hc,
		RetryMax:   math.MaxInt,
		CheckRetry: func(ctx context.Context, resp *http.Response, err error) (bool, error) {
			if ctx.Err() != nil {
				return false, context.Cause(ctx)
			}
			if err != nil {
				rc.HTTPClient = retry
			}
			v = judge(resp, err)
			return v.again, nil
		},
		Backoff: func(_, _ time.Duration, _ int, _ *http.Response) time.Duration { return v.wait },
		ErrorHandler: func(resp *http.Response, err error, _ int) (*http.Response, error) {
			if err != nil && resp != nil { // cancelled after the header
				resp.Body.Close()
				resp = nil
			}
			return resp, err
		},
	}
	rr, err := retryablehttp.FromRequest(req)
	if err != nil {
		return nil, err
	}
	resp, err := rc.Do(rr)
	if ctx := req.Context(); ctx.Err() != nil {
		if err == nil {
			resp.Body.Close()
		}
		return nil, context.Cause(ctx)
	}
	return resp, err
}
