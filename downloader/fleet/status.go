package fleet

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"pawl/downloader/mirror"
)

// rateTime is the time of which a Status has the rates. Half of it shows the end of one large file as the rate; double shows a
// pause late.
const rateTime = time.Minute

// A Status says how far a run is.
type Status struct {
	Run      Run                  `json:"run"`
	Sent     int                  `json:"sent"`  // files that are queued, or were
	Ended    map[mirror.State]int `json:"ended"` // files that need nothing more
	Problems int                  `json:"problems"`
	Bytes    int64                `json:"bytes"`     // received for files that have ended
	Rate     float64              `json:"rate"`      // bytes per second of the workers, as they say
	FileRate float64              `json:"file_rate"` // files per second that have ended in the last minute of the log
	ETA      time.Duration        `json:"eta"`       // nanoseconds; 0 if it is unknown
	Waiting  map[string]int       `json:"waiting"`   // batches by lane, with those in work
	InWork   int                  `json:"in_work"`   // files that the workers fetch now, also those of other runs
	Workers  []SessionInfo        `json:"workers"`
	Full     []FullLane           `json:"full"`    // lanes that use all they may
	Retries  []Retry              `json:"retries"` // batches of later rounds that wait
}

// A FullLane is a lane with batches whose places are all held.
type FullLane struct {
	Lane    string `json:"lane"`
	Hosts   string `json:"hosts"` // of a rule, for example "*.example.org"; "" for a lane of hosts without one
	Places  int    `json:"places"`
	Waiting int    `json:"waiting"` // batches
}

// StatusOf returns the status of a run. It reads the tally of the run and, if this user may write, completes it. The error is ErrNoRun if there is no such run.
func StatusOf(ctx context.Context, b Broker, id string) (Status, error) {
	var s Status
	var err error
	if s.Run, err = ReadRun(ctx, b, id); err != nil {
		return s, err
	}
	if s.Waiting, err = b.Waiting(ctx, id); err != nil {
		return s, err
	}
	if s.Workers, err = Sessions(ctx, b); err != nil {
		return s, err
	}
	for _, w := range s.Workers {
		s.InWork += w.Busy
		s.Rate += w.Rate
	}
	if s.Full, err = fullLanes(ctx, b, s.Waiting); err != nil {
		return s, err
	}
	t, _, err := readTally(ctx, b, id)
	if err != nil {
		return s, err
	}
	s.setTally(t)
	return s, nil
}

// setTally sets what the log says.
func (s *Status) setTally(t *tally) {
	s.Sent, s.Ended, s.Problems, s.Bytes = len(t.ids), t.ended, t.problems, t.bytes
	s.Retries = slices.DeleteFunc(t.retries, func(r Retry) bool { return !r.NotBefore.After(time.Now()) })
	s.FileRate = fileRate(t.recent)
	left := s.Sent
	for _, n := range t.ended {
		left -= n
	}
	if left > 0 && s.FileRate > 0 && s.Run.Control == Running {
		s.ETA = time.Duration(float64(left) / s.FileRate * float64(time.Second))
	}
}

// fileRate returns how many files have ended per second, over the last minute before now. The clocks of the workers may differ by
// some seconds, which does not matter for a minute.
func fileRate(recent []endedAt) float64 {
	slices.SortFunc(recent, func(a, b endedAt) int { return a.Time.Compare(b.Time) })
	now := time.Now()
	first, n := now, 0
	for _, e := range slices.Backward(recent) {
		if now.Sub(e.Time) > rateTime {
			return float64(n) / rateTime.Seconds()
		}
		first = e.Time
		n += e.Files
	}
	return float64(n) / max(1, now.Sub(first).Seconds())
}

// fullLanes returns the lanes with batches whose places are all held, those with the most batches first.
func fullLanes(ctx context.Context, b Broker, waiting map[string]int) ([]FullLane, error) {
	limits, err := ReadLimits(ctx, b)
	if err != nil {
		return nil, err
	}
	bucket, err := b.Bucket(ctx, placesBucket, 0)
	if errors.Is(err, ErrNoRun) { // there has never been a worker
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	held, err := bucket.List(ctx, placePrefix)
	if err != nil {
		return nil, err
	}
	places := make(map[string]int)
	for key := range held {
		if lane, _, ok := parsePlace(key); ok {
			places[lane]++
		}
	}
	rules := limits.byLane()
	var full []FullLane
	for lane, n := range waiting {
		if limit := limits.ofLane(lane).places(); n > 0 && places[lane] >= limit {
			f := FullLane{Lane: lane, Places: limit, Waiting: n}
			if rule, ok := rules[lane]; ok {
				f.Hosts = rule.pattern()
			}
			full = append(full, f)
		}
	}
	slices.SortFunc(full, func(a, b FullLane) int {
		return cmp.Or(-cmp.Compare(a.Waiting, b.Waiting), strings.Compare(a.Lane, b.Lane))
	})
	return full, nil
}
