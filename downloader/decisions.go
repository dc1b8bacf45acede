package downloader

// This file turns the decisions of package response into errors.

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"pawl/downloader/credentials"
	"pawl/downloader/failure"
	"pawl/downloader/response"
	"pawl/downloader/transport"
)

var (
	// errLie means that a partial response is not the requested range.
	errLie = errors.New("wrong response to a range request")
	// errConflict means that a response is of another version. The next one may be of the
	// wanted version, because machines that share a load may disagree about validators.
	errConflict = errors.New("a response of another version")
	// errSubstitute means that the body is something else instead of the file.
	errSubstitute = failure.New(failure.ErrPage, "the server sends something else instead of the file, without a validator")
	// errPage means that the body is a web page instead of the file.
	errPage = failure.New(failure.ErrPage, "the server sends a web page instead of the file, perhaps to log in")
	// errUnsatisfiable means that the file has no byte at the start of the requested range.
	errUnsatisfiable = errors.New("the range is beyond the end of the file")
)

// meaningError returns the error of a response with content c that has no usable body, nil for
// others.
func meaningError(resp *http.Response, c response.Content) error {
	switch c.Meaning {
	case response.Lie:
		return fmt.Errorf("%w: %s", errLie, c.Problem)
	case response.Unsatisfiable:
		return errUnsatisfiable
	case response.Undecodable:
		return failure.Permanent(failure.New(failure.ErrProtocol, c.Problem))
	case response.HTTPError:
		return statusError(resp)
	}
	return nil
}

// statusError returns the error of a response by its status.
func statusError(resp *http.Response) error {
	wish, ok := response.RetryAfter(resp.Header, time.Now())
	err := &failure.StatusError{Code: resp.StatusCode, Host: resp.Request.URL.Host, RetryAfter: ok, Wish: int64(wish / time.Second), Redirected: transport.LeftOrigin(resp.Request)}
	if resp.StatusCode == http.StatusUnauthorized {
		err.Scheme = foreignScheme(credentials.ParseChallenges(resp.Header.Values("Www-Authenticate")))
	}
	return err
}

// foreignSchemes are the ways to authenticate that need more than a user and a password, or a token. Others, which
// are unknown, may be satisfied by a header field of the user.
var foreignSchemes = map[string]string{"ntlm": "NTLM", "negotiate": "Negotiate", "kerberos": "Kerberos", "digest": "an unknown kind of Digest"}

// foreignScheme returns a name from foreignSchemes if all challenges are of these, else "".
func foreignScheme(challenges []credentials.Challenge) (found string) {
	if _, ok := credentials.StrongestDigest(challenges); ok {
		return ""
	}
	for _, c := range challenges {
		if found = foreignSchemes[c.Scheme]; found == "" {
			return ""
		}
	}
	return found
}

// decided returns the error of a decision, nil for Use. A restartError asks for another
// attempt.
func decided(d response.Decision, reason string) error {
	switch d {
	case response.AskAgain:
		return errConflict
	case response.OneStream:
		return restartError{why: reason, single: true, keep: true}
	case response.StartOver:
		return restartError{why: reason}
	case response.Growing:
		return errGrowing
	case response.Reject:
		return fmt.Errorf("%w: %s", errLie, reason)
	case response.Page:
		return errPage
	case response.Substitute:
		return errSubstitute
	}
	return nil
}
