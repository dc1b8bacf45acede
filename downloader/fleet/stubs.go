package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"pawl/downloader/mirror"
)

// ErrComplete reports a run that has ended.
var ErrComplete = errors.New("the run has ended")

const runsBucket = "PAWL_RUNS"

// ReadRun returns a run.
func ReadRun(ctx context.Context, b Broker, id string) (Run, error) {
	bucket, err := b.Bucket(ctx, runsBucket, 0)
	if err != nil {
		return Run{}, err
	}
	v, err := bucket.Get(ctx, id)
	if errors.Is(err, ErrNoKey) {
		return Run{}, ErrNoRun
	}
	if err != nil {
		return Run{}, err
	}
	var r Run
	err = json.Unmarshal(v.Data, &r)
	r.ID = id
	return r, err
}

// ListRuns returns all runs, the oldest first.
func ListRuns(ctx context.Context, b Broker) ([]Run, error) {
	bucket, err := b.Bucket(ctx, runsBucket, 0)
	if err != nil {
		return nil, err
	}
	values, err := bucket.List(ctx, "")
	if err != nil {
		return nil, err
	}
	var all []Run
	for id := range values {
		r, err := ReadRun(ctx, b, id)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b Run) int { return strings.Compare(a.ID, b.ID) })
	return all, nil
}

// SetControl changes what workers must do with a run.
func SetControl(ctx context.Context, b Broker, id string, c Control, now bool, reason string) error {
	r, err := ReadRun(ctx, b, id)
	if err != nil {
		return err
	}
	if r.State == Complete {
		return ErrComplete
	}
	r.Control, r.Now, r.Reason = c, now, reason
	bucket, err := b.Bucket(ctx, runsBucket, 0)
	if err == nil {
		_, err = bucket.Put(ctx, id, encode(r))
	}
	return err
}

// DeleteRun deletes a run and all that belongs to it.
func DeleteRun(ctx context.Context, b Broker, id string) error {
	bucket, err := b.Bucket(ctx, runsBucket, 0)
	if err != nil {
		return err
	}
	return errors.Join(b.DeleteQueue(ctx, id), b.DeleteBucket(ctx, "PAWL_"+id), SetLimits(ctx, b, id, nil), bucket.Delete(ctx, id, 0))
}

// A Status says how far a run is.
type Status struct {
	Run      Run                  `json:"run"`
	Sent     int                  `json:"sent"`
	Ended    map[mirror.State]int `json:"ended"`
	Problems int                  `json:"problems"`
	Bytes    int64                `json:"bytes"`
	Rate     float64              `json:"rate"`
	FileRate float64              `json:"file_rate"`
	ETA      time.Duration        `json:"eta"`
	Waiting  map[string]int       `json:"waiting"`
	InWork   int                  `json:"in_work"`
	Workers  []SessionInfo        `json:"workers"`
	Full     []FullLane           `json:"full"`
	Retries  []Retry              `json:"retries"`
}

// A FullLane is a lane whose places are all held.
type FullLane struct {
	Lane    string `json:"lane"`
	Hosts   string `json:"hosts"`
	Places  int    `json:"places"`
	Waiting int    `json:"waiting"`
}

// A Retry is a batch of a later round.
type Retry struct {
	Batch     string    `json:"batch"`
	Round     int       `json:"round"`
	Files     int       `json:"files"`
	NotBefore time.Time `json:"not_before"`
}

// StatusOf returns the status of a run.
func StatusOf(ctx context.Context, b Broker, id string) (Status, error) {
	r, err := ReadRun(ctx, b, id)
	if err != nil {
		return Status{}, err
	}
	s := Status{Run: r, Ended: make(map[mirror.State]int)}
	s.Workers, err = Sessions(ctx, b)
	return s, err
}
