package fleet

import (
	"context"
	"time"

	"pawl/downloader/mirror"
)

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
