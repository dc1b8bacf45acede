package mirror

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// leastLimit is how many files a run may always delete by default, because half of
// a few files is less than an ordinary change of a short list.
const leastLimit = 10

// A Limit is how many files a run may delete at most: a number, or a share of the
// files that earlier runs made. The zero Limit is half of them, but not less than
// ten.
type Limit struct {
	kind  limitKind
	value float64 // files, or percent below 100
}

type limitKind int

const (
	defaultLimit limitKind = iota
	limitFiles
	limitShare
	noLimit
)

// UnmarshalText reads "20", "20%" or "inf".
func (l *Limit) UnmarshalText(text []byte) error {
	s := string(text)
	if s == "inf" || s == "unlimited" {
		*l = Limit{kind: noLimit}
		return nil
	}
	if digits, share := strings.CutSuffix(s, "%"); share {
		v, err := strconv.ParseFloat(digits, 64)
		if err == nil && v == 100 {
			*l = Limit{kind: noLimit}
			return nil
		}
		if err == nil && v >= 0 && v < 100 { // NaN is neither
			*l = Limit{limitShare, v}
			return nil
		}
	} else if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		*l = Limit{limitFiles, float64(n)}
		return nil
	}
	return fmt.Errorf("%q is not a number of files such as 20, a share such as 20%%, or inf", s)
}

// of returns how many files may be deleted if earlier runs made so many.
func (l Limit) of(made int) int {
	switch l.kind {
	case limitFiles:
		return int(l.value)
	case limitShare:
		return int(float64(made) * l.value / 100)
	case noLimit:
		return math.MaxInt
	}
	return max(leastLimit, made/2)
}

// A LimitError says that a run has deleted nothing, because it would have been more
// than its Limit allows.
type LimitError struct {
	Delete int // files that would have been deleted
	Made   int // files that earlier runs made
	Most   int // files that the Limit allows
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("nothing is deleted: it would be %d of the %d files that earlier runs made, and the limit is %d", e.Delete, e.Made, e.Most)
}
