package mirror

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// minDefaultLimit is the number of files that a run may always delete by default. A guess: half
// of a short list is less than an ordinary change of it. At 5, such a change would need
// --max-delete; at 20, a list of 20 files that lost all but one of its lines would delete the
// others.
const minDefaultLimit = 10

// A Limit is the largest number of files that a run may delete: a number, or a share of the
// files that earlier runs made. The zero Limit is half of these files, but at least ten.
type Limit struct {
	kind  limitKind
	value float64 // files (limitFiles) or percent below 100 (limitShare)
}

type limitKind int

const (
	defaultLimit limitKind = iota
	limitFiles
	limitShare
	noLimit
)

// UnmarshalText parses a limit such as "20", "20%", "0.5%" or "inf". "unlimited" and "100%"
// mean the same as "inf".
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
		if err == nil && v >= 0 && v < 100 { // false for NaN, which ParseFloat accepts
			*l = Limit{limitShare, v}
			return nil
		}
	} else if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		*l = Limit{limitFiles, float64(n)}
		return nil
	}
	return fmt.Errorf("%q is not a number of files such as 20, a share such as 20%%, or inf", s)
}

// of returns how many files a run may delete if earlier runs made the given number of files.
func (l Limit) of(made int) int {
	switch l.kind {
	case limitFiles:
		return int(l.value)
	case limitShare:
		return int(float64(made) * l.value / 100)
	case noLimit:
		return math.MaxInt
	}
	return max(minDefaultLimit, made/2)
}

// A LimitError reports that a run deleted nothing, because it would have had to delete more
// files than its Limit allows.
type LimitError struct {
	Delete int // files that the run would have deleted
	Made   int // files that earlier runs made
	Max    int // files that the Limit allows
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("nothing is deleted: pruning would delete %d of the %d files that earlier runs made, and the limit is %d", e.Delete, e.Made, e.Max)
}
