package downloader

// This file turns the decisions of package response into errors.

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"pawl/chunk"
	"pawl/downloader/failure"
	"pawl/downloader/response"
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

// meaningError returns the error of a response that has no usable body, nil for others.
func meaningError(rep *reply) error {
	switch rep.Meaning {
	case response.Lie:
		return fmt.Errorf("%w: %s", errLie, rep.Problem)
	case response.Unsatisfiable:
		return errUnsatisfiable
	case response.Undecodable:
		return failure.Permanent(failure.New(failure.ErrProtocol, rep.Problem))
	case response.HTTPError:
		return &failure.StatusError{Code: rep.StatusCode, Host: rep.Request.URL.Host}
	}
	return nil
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
	case response.Reject:
		return fmt.Errorf("%w: %s", errLie, reason)
	case response.Page:
		return errPage
	case response.Substitute:
		return errSubstitute
	}
	return nil
}

// compare returns an error if rep cannot be used for range r together with the held bytes.
func (j *job) compare(rep *reply, r chunk.Range) error {
	return decided(j.version.evidence.Judge(j.version.Version, rep.Content, response.Request{Range: r, Conditional: rep.conditional, Placed: j.transfer != nil}))
}

// known returns the facts about the file that are known before any response.
func (j *job) known() response.Known {
	k := response.Known{Size: -1, Digest: !j.goal.sum.IsZero(), WrongCoded: j.wrong.decode()}
	if j.goal.named {
		k.Name = path.Base(strings.ReplaceAll(j.goal.output, `\`, "/"))
	}
	if j.req.ListEntry != nil {
		k.Size = j.req.ListEntry.Size
	}
	return k
}
