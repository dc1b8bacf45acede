package fleet

import "pawl/downloader/mirror"

// What tests in package fleet_test use of this package.
var (
	EndedOf    = endedOf
	ErrorName  = errorName
	NamedError = namedError
)

// Outcome is (*Ended).outcome.
func Outcome(e Ended, dir string) mirror.Outcome { return e.outcome(dir) }

// Encode returns a message as JSON.
func Encode(v any) []byte { return encode(v) }
