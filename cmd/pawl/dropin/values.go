package dropin

import (
	"errors"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// seconds reads a number of seconds, perhaps with a fraction, and with one of the units s, m, h, d and w of
// wget. It returns the time as pawl reads it, for example "90s".
func seconds(value string) (string, error) {
	number, factor := value, 1.0
	if n := len(value); n > 0 {
		if i := strings.IndexByte("smhdw", value[n-1]); i >= 0 {
			number, factor = value[:n-1], []float64{1, 60, 3600, 86400, 604800}[i]
		}
	}
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || v < 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return "", errors.New("needs a number of seconds")
	}
	return strconv.FormatFloat(v*factor, 'f', -1, 64) + "s", nil
}

// noTimeout replaces 0 seconds, which mean no limit to the tools. It is a day, because every wait of pawl
// must end.
const noTimeout = "24h"

// timeout is seconds, for a limit that 0 switches off.
func timeout(value string) (string, error) {
	s, err := seconds(value)
	if s == "0s" {
		s = noTimeout
	}
	return s, err
}

var sizePattern = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)([kKmMgGtT]?)(?:i?[bB])?$`)

// size reads a number of bytes with one of the units K, M, G and T, as pawl reads it. 0 is "".
func size(value string) (string, error) {
	m := sizePattern.FindStringSubmatch(value)
	if m == nil {
		return "", errors.New("needs a number of bytes such as 500K or 10M")
	}
	if strings.Trim(m[1], "0.") == "" {
		return "", nil
	}
	return m[1] + strings.ToUpper(m[2]), nil
}

// count reads a number that is not negative.
func count(value string) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 {
		return 0, errors.New("needs a number")
	}
	return n, nil
}
