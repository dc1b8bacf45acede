package queue

import (
	"errors"
	"slices"

	"pawl/downloader/failure"
	"pawl/downloader/list"
)

// This file makes lists of Metalinks: the queue downloads the files that a Metalink names, and not the
// Metalink itself, as aria2 does. A task becomes a list when it is added, if its URL has a suffix of
// Metalinks, or when the server sends the media type of one.

// follows reports whether a task becomes a list if its URL leads to a Metalink. A name without a suffix of
// Metalinks says that the user wants the Metalink itself. Browser extensions send the name that the server
// has chosen.
func (q *Queue) follows(s *Spec) bool {
	return q.options.RunList != nil && !s.List && (s.Name == "" || list.HasMetalinkName(s.Name))
}

// asList returns the spec of the list at the first URL of s.
func asList(s Spec) Spec {
	s.List, s.Name, s.URLs = true, "", s.URLs[:1]
	return s
}

// withoutMetalinks returns patterns of media types that refuse Metalinks as well.
func withoutMetalinks(expect []string) []string {
	expect = slices.Clone(expect)
	for _, media := range list.MetalinkTypes() {
		expect = append(expect, "!"+media)
	}
	return expect
}

// isMetalink reports whether an error means that the server has sent a Metalink.
func isMetalink(err error) bool {
	var other *failure.MediaTypeError
	return errors.As(err, &other) && slices.Contains(list.MetalinkTypes(), other.Media)
}
