package main

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// duration is a time.Duration that also accepts a plain number of seconds, as users of other
// downloaders type it.
type duration time.Duration

// UnmarshalText accepts "1h30m", "30s" and "30". A duration cannot be negative.
func (d *duration) UnmarshalText(text []byte) error {
	s := string(text)
	v, err := time.ParseDuration(s)
	// The limit is the largest int64 of nanoseconds, some 292 years.
	if n, numErr := strconv.ParseFloat(s, 64); numErr == nil && n >= 0 && n < math.MaxInt64/1e9 {
		v, err = time.Duration(n*float64(time.Second)), nil
	}
	if err != nil || v < 0 {
		return fmt.Errorf("%q is not a duration such as 30s, 5m or 1h30m", s)
	}
	*d = duration(v)
	return nil
}

// or returns d, or other if d is nil because the option was not given.
func (d *duration) or(other time.Duration) time.Duration {
	if d == nil {
		return other
	}
	return time.Duration(*d)
}

// byteRate is a number of bytes per second, 0 for no limit. K, M, G and T are powers of
// 1024, as in curl, wget and aria2.
type byteRate int64

// UnmarshalText accepts for example "500K", "10M/s", "1.5MiB" and "off".
func (r *byteRate) UnmarshalText(text []byte) error {
	n, ok := parseBytes(strings.TrimSuffix(strings.ToUpper(string(text)), "/S"))
	if !ok {
		return fmt.Errorf("%q is not a rate such as 500K, 10M or 1G", text)
	}
	*r = byteRate(n)
	return nil
}

// connLimit is a limit of connections, 0 if none is given.
type connLimit int

func (c *connLimit) UnmarshalText(text []byte) error {
	n, err := strconv.Atoi(string(text))
	if err != nil || n < 1 {
		return fmt.Errorf("%q is not a number of connections; it must be at least 1", text)
	}
	*c = connLimit(n)
	return nil
}

// byteSize is a number of bytes, 0 for no limit. It is written like a byteRate.
type byteSize int64

// UnmarshalText accepts for example "500K", "10M", "1.5MiB" and "off".
func (b *byteSize) UnmarshalText(text []byte) error {
	n, ok := parseBytes(strings.ToUpper(string(text)))
	if !ok {
		return fmt.Errorf("%q is not a size such as 500K, 10M or 1G", text)
	}
	*b = byteSize(n)
	return nil
}

// parseBytes parses a number of bytes in upper case, such as 500K, 1.5MIB, or OFF for 0.
func parseBytes(s string) (int64, bool) {
	if s == "OFF" {
		return 0, true
	}
	// The unit may be 500K, 500KB or 500KiB; all of them mean 500 × 1024.
	digits := strings.TrimSuffix(strings.TrimSuffix(s, "B"), "I")
	factor := 1.0
	if n := len(digits); n > 0 {
		if i := strings.IndexByte("KMGT", digits[n-1]); i >= 0 {
			factor, digits = math.Pow(1024, float64(i+1)), digits[:n-1]
		}
	}
	v, err := strconv.ParseFloat(digits, 64)
	// Half of the largest int64 leaves room for sums of sizes. The negation also refuses NaN.
	if err != nil || !(v >= 0 && v*factor < math.MaxInt64/2) {
		return 0, false
	}
	return int64(v * factor), true
}

// minRate is the argument of --min-rate: a connection that stays below rate for span is
// closed. The zero value means the default of the downloader.
type minRate struct {
	rate byteRate
	span time.Duration
}

// UnmarshalText accepts RATE and RATE:D, for example "10K:1m". D defaults to 30s.
func (m *minRate) UnmarshalText(text []byte) error {
	rate, span, timed := strings.Cut(string(text), ":")
	m.span = 30 * time.Second
	if timed {
		var d duration
		if err := d.UnmarshalText([]byte(span)); err != nil || d == 0 {
			return fmt.Errorf("%q is not a rate and a duration such as 10K:1m", text)
		}
		m.span = time.Duration(d)
	}
	return m.rate.UnmarshalText([]byte(rate))
}

// requestRate is a number of requests per second or per minute. The zero value is no limit.
type requestRate struct {
	requests  float64
	perMinute bool
}

// UnmarshalText accepts N and N/s, N/m for a minute, and off.
func (r *requestRate) UnmarshalText(text []byte) error {
	s := strings.ToLower(string(text))
	if s == "off" {
		*r = requestRate{}
		return nil
	}
	number, perMinute := strings.CutSuffix(s, "/m")
	if !perMinute {
		number = strings.TrimSuffix(s, "/s")
	}
	n, err := strconv.ParseFloat(number, 64)
	rate := requestRate{n, perMinute}
	if v := rate.perSecond(); err != nil || !(v == 0 || v >= minRequestRate && v <= maxRequestRate) { // the negation also refuses NaN
		return fmt.Errorf("%q is not a rate of requests such as 10, 0.5/s or 30/m", text)
	}
	*r = rate
	return nil
}

// perSecond returns the number of requests per second, 0 for no limit.
func (r requestRate) perSecond() float64 {
	if r.perMinute {
		return r.requests / 60
	}
	return r.requests
}

// Requests per second that --max-request-rate accepts: from one per day, because a slower
// rate is surely a mistake, up to a million, which is more than pawl can send.
const minRequestRate, maxRequestRate = 1.0 / 86400, 1e6

// protocols is a list of URL schemes, separated by commas.
type protocols string

// UnmarshalText accepts http, https, and both.
func (p *protocols) UnmarshalText(text []byte) error {
	*p = protocols(strings.ToLower(string(text)))
	for _, scheme := range p.list() {
		if scheme != "http" && scheme != "https" {
			return fmt.Errorf("%q is not http, https or http,https", text)
		}
	}
	return nil
}

// list returns the schemes.
func (p protocols) list() []string { return strings.Split(string(p), ",") }

// A mediaType is a pattern for media types, in lower case: a type such as application/zip, all
// types of a kind such as image/*, or one of both that is excluded, such as !text/html.
type mediaType string

// mediaTypePattern matches a mediaType, but for the limit of its names (RFC 6838 §4.2). A limit in
// the pattern, such as {0,126}, would make each start of pawl 0.4 ms slower.
var mediaTypePattern = regexp.MustCompile(`^!?(\*/\*|([a-z0-9][a-z0-9!#$&^_.+-]*)/(\*|[a-z0-9][a-z0-9!#$&^_.+-]*))$`)

// maxMediaName is the longest name of a type or a subtype, in bytes (RFC 6838 §4.2).
const maxMediaName = 127

// UnmarshalText accepts a pattern in any case, with blanks around it.
func (t *mediaType) UnmarshalText(text []byte) error {
	s := strings.ToLower(strings.TrimSpace(string(text)))
	m := mediaTypePattern.FindStringSubmatch(s)
	if m == nil || len(m[2]) > maxMediaName || len(m[3]) > maxMediaName {
		return fmt.Errorf("%q is not a media type such as application/zip, image/* or !text/html", text)
	}
	*t = mediaType(s)
	return nil
}

// tries is a number of tries, 0 for no limit.
type tries int

// UnmarshalText accepts a number, inf and unlimited.
func (t *tries) UnmarshalText(text []byte) error {
	if s := string(text); s == "inf" || s == "unlimited" {
		*t = 0
		return nil
	}
	n, err := strconv.Atoi(string(text))
	if err != nil || n < 0 {
		return fmt.Errorf("%q is not a number of tries such as 10, or inf for no limit", text)
	}
	*t = tries(n)
	return nil
}
