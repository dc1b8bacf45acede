package fleet

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"pawl/downloader"
)

// A Run is one list, or several, that a fleet fetches. It is the value of a key in the bucket
// PAWL_RUNS. The key is its ID.
type Run struct {
	Version int       `json:"v"`
	ID      string    `json:"-"`
	Lists   []string  `json:"lists"` // their names, without passwords
	Dir     string    `json:"dir"`   // of the submitter
	Created time.Time `json:"created"`
	State   RunState  `json:"state"`

	Control Control `json:"control"`
	Now     bool    `json:"now,omitempty"`    // Paused interrupts the running downloads
	Reason  string  `json:"reason,omitempty"` // of the Control, for people
	Kind    string  `json:"kind,omitempty"`   // of the error that is the Reason, see errorName; "" for a decision

	Target   string     `json:"target,omitempty"` // ID in the file .pawl-target of a shared directory; "" for local disks
	Settings Settings   `json:"settings"`
	Limits   HostLimits `json:"limits,omitempty"`
}

// A RunState is the progress of the submitter of a run.
type RunState string

// The states of a Run.
const (
	Submitting RunState = "submitting" // the lists are being read
	Submitted  RunState = "submitted"  // everything is queued
	Complete   RunState = "complete"   // everything has ended, and was reported
)

// A Control is an order to the workers of a run.
type Control string

// The values of Run.Control.
const (
	Running   Control = "running"
	Paused    Control = "paused"    // begin no file
	Cancelled Control = "cancelled" // interrupt all downloads, and drop the queue
)

// Settings are the options of a run that its workers apply.
type Settings struct {
	Update    bool          `json:"update,omitempty"`
	Rounds    int           `json:"rounds"`
	RoundWait time.Duration `json:"round_wait"`

	Existing downloader.Existing `json:"existing,omitzero"`
	MaxSize  int64               `json:"max_size,omitempty"` // of a file, in bytes; 0 for no limit
	Expect   []string            `json:"expect,omitempty"`   // media types, see downloader.Request
}

// Apply sets the fields of req that the run decides.
func (s Settings) Apply(req *downloader.Request) {
	req.Existing, req.MaxSize, req.Expect = s.Existing, s.MaxSize, slices.Clone(s.Expect)
}

const (
	runsBucket = "PAWL_RUNS"
	// runBucketPrefix and the ID of a run are the name of the bucket with its checkpoints.
	runBucketPrefix = "PAWL_"
)

// ErrComplete means that a run has ended.
var ErrComplete = errors.New("the run has ended")

// ErrOtherTarget means that a run puts its files into another directory than the caller wants.
var ErrOtherTarget = errors.New("the run has another directory")

// A CancelledError reports that somebody has cancelled the run.
type CancelledError struct{ Reason string }

func (e *CancelledError) Error() string {
	if e.Reason == "" {
		return "the run was cancelled"
	}
	return "the run was cancelled: " + e.Reason
}

// Is makes all CancelledErrors equal for errors.Is, whatever their reason.
func (e *CancelledError) Is(target error) bool {
	_, ok := target.(*CancelledError)
	return ok
}

// OpenRun continues the run of key that has not ended, or creates one like r. The key stands for the lists and the directory; it
// must be valid in names of queues. A run that continues gets the Settings and Limits of r. The error is
// ErrOtherTarget if it has another Target, because some files may be there.
func OpenRun(ctx context.Context, b Broker, key string, r Run) (Run, error) {
	for {
		runs, err := ListRuns(ctx, b)
		if err != nil {
			return Run{}, err
		}
		last := 0 // number of the last run of key
		var open *Run
		for i := range runs {
			if n, ok := runNumber(runs[i].ID, key); ok && n > last {
				last, open = n, &runs[i]
			}
		}
		if open != nil && open.State != Complete && open.Control != Cancelled {
			return continueRun(ctx, b, open.ID, r)
		}
		created, err := createRun(ctx, b, fmt.Sprintf("%s-%d", key, last+1), r)
		if !errors.Is(err, ErrConflict) {
			return created, err
		}
	}
}

// runNumber returns n of the ID "KEY-n".
func runNumber(id, key string) (int, bool) {
	text, ok := strings.CutPrefix(id, key+"-")
	n, err := strconv.Atoi(text)
	return n, ok && err == nil && n > 0
}

// continueRun prepares a run for its next submitter.
func continueRun(ctx context.Context, b Broker, id string, r Run) (Run, error) {
	run, err := changeRun(ctx, b, id, func(old *Run) error {
		if old.Target != r.Target {
			return ErrOtherTarget
		}
		old.State, old.Settings, old.Limits = Submitting, r.Settings, r.Limits
		return nil
	})
	if err != nil {
		return run, err
	}
	return run, prepareQueue(ctx, b, run)
}

// createRun creates a run. The error is ErrConflict if there is one with the ID. Workers find the run by its key, so that comes last.
func createRun(ctx context.Context, b Broker, id string, r Run) (Run, error) {
	r.Version, r.ID, r.Created, r.State, r.Control = version, id, time.Now().UTC().Truncate(time.Second), Submitting, Running
	if err := prepareQueue(ctx, b, r); err != nil {
		return r, err
	}
	bucket, err := b.Bucket(ctx, runsBucket, 0)
	if err != nil {
		return r, err
	}
	_, err = bucket.Create(ctx, id, encode(r))
	return r, err
}

// prepareQueue creates the queue of a run and the bucket for its checkpoints, which workers may not create, and makes its limits
// known.
func prepareQueue(ctx context.Context, b Broker, r Run) error {
	if err := SetLimits(ctx, b, r.ID, r.Limits); err != nil {
		return err
	}
	limits, err := ReadLimits(ctx, b)
	if err != nil {
		return err
	}
	if _, err := b.Bucket(ctx, runBucketPrefix+r.ID, 0); err != nil {
		return err
	}
	return b.CreateQueue(ctx, r.ID, limits.Lanes())
}

// decodeRun decodes the value of a key of the runs. The error is ErrNewer for a run of a newer version.
func decodeRun(id string, data []byte) (Run, error) {
	var v struct {
		Version int `json:"v"`
	}
	err := json.Unmarshal(data, &v)
	if err == nil && v.Version > version {
		err = ErrNewer
	}
	var r Run
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil {
		return Run{ID: id}, fmt.Errorf("run %s: %w", id, err)
	}
	r.ID = id
	return r, nil
}

// ReadRun returns a run. The error is ErrNoRun if there is none with the ID.
func ReadRun(ctx context.Context, b Broker, id string) (Run, error) {
	bucket, err := b.Bucket(ctx, runsBucket, 0)
	if err != nil {
		return Run{}, err
	}
	v, err := bucket.Get(ctx, id)
	if errors.Is(err, ErrNoKey) {
		err = ErrNoRun
	}
	if err != nil {
		return Run{}, err
	}
	return decodeRun(id, v.Data)
}

// ListRuns returns all runs, the oldest first. Runs of newer versions are left out.
func ListRuns(ctx context.Context, b Broker) ([]Run, error) {
	bucket, err := b.Bucket(ctx, runsBucket, 0)
	if errors.Is(err, ErrNoRun) { // there has never been one, and this user may not create the bucket
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	values, err := bucket.List(ctx, "")
	if err != nil {
		return nil, err
	}
	var runs []Run
	for id, v := range values {
		if r, err := decodeRun(id, v.Data); err == nil {
			runs = append(runs, r)
		}
	}
	slices.SortFunc(runs, func(a, b Run) int { return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID)) })
	return runs, nil
}

// A RunChange is a run as it is now.
type RunChange struct {
	Run     Run
	Deleted bool  // only Run.ID is set
	Err     error // only Run.ID is set; ErrNewer for a run of a newer version
}

// WatchRuns receives a run, or all runs if id is "", as they are now, and each change, until ctx ends.
func WatchRuns(ctx context.Context, b Broker, id string) (<-chan RunChange, error) {
	bucket, err := b.Bucket(ctx, runsBucket, 0)
	if err != nil {
		return nil, err
	}
	changes, err := bucket.Watch(ctx, id)
	if err != nil {
		return nil, err
	}
	out := make(chan RunChange)
	go func() { // ends with changes, and so with ctx
		defer close(out)
		for c := range changes {
			if id != "" && c.Key != id { // the ID is only a prefix
				continue
			}
			change := RunChange{Run: Run{ID: c.Key}, Deleted: c.Deleted}
			if !c.Deleted {
				change.Run, change.Err = decodeRun(c.Key, c.Data)
			}
			select {
			case out <- change:
			case <-ctx.Done():
			}
		}
	}()
	return out, nil
}

// changeRun changes a run. If change returns an error, the run stays as it is.
func changeRun(ctx context.Context, b Broker, id string, change func(*Run) error) (Run, error) {
	bucket, err := b.Bucket(ctx, runsBucket, 0)
	if err != nil {
		return Run{}, err
	}
	for {
		v, err := bucket.Get(ctx, id)
		if errors.Is(err, ErrNoKey) {
			return Run{}, ErrNoRun
		}
		if err != nil {
			return Run{}, err
		}
		r, err := decodeRun(id, v.Data)
		if err == nil {
			err = change(&r)
		}
		if err != nil {
			return r, err
		}
		if _, err = bucket.Update(ctx, id, encode(r), v.Revision); !errors.Is(err, ErrConflict) {
			return r, err
		}
	}
}

// SetControl gives the workers of a run an order. now is for Paused: the running downloads are interrupted. reason is for
// people. The error is ErrComplete if the run has ended or is cancelled.
func SetControl(ctx context.Context, b Broker, id string, c Control, now bool, reason string) error {
	_, err := changeRun(ctx, b, id, func(r *Run) error {
		if r.State == Complete || r.Control == Cancelled && c != Cancelled {
			return ErrComplete
		}
		r.Control, r.Now, r.Reason, r.Kind = c, now, reason, ""
		return nil
	})
	return err
}

// PauseFor pauses a run that no worker can go on with because of reason, for example because the shared disk is full. A run
// that does not run stays as it is.
func PauseFor(ctx context.Context, b Broker, id string, reason error) error {
	_, err := changeRun(ctx, b, id, func(r *Run) error {
		if r.State != Complete && r.Control == Running {
			r.Control, r.Now, r.Reason, r.Kind = Paused, false, reason.Error(), errorName(reason)
		}
		return nil
	})
	return err
}

// PauseError returns the error that has paused the run, or nil if it is not paused, or by a decision.
func (r Run) PauseError() error {
	if r.Control != Paused || r.Kind == "" {
		return nil
	}
	return namedError(r.Kind, r.Reason)
}

// setSubmitted records that everything is queued.
func setSubmitted(ctx context.Context, b Broker, id string) error {
	_, err := changeRun(ctx, b, id, func(r *Run) error {
		if r.State == Submitting {
			r.State = Submitted
		}
		return nil
	})
	return err
}

// CompleteRun records that everything has ended and was reported, so that the same lists are a new run next time. The log stays until
// DeleteRun.
func CompleteRun(ctx context.Context, b Broker, id string) error {
	_, err := changeRun(ctx, b, id, func(r *Run) error {
		r.State = Complete
		return nil
	})
	if err != nil {
		return err
	}
	return SetLimits(ctx, b, id, nil)
}

// DeleteRun deletes a run and everything that belongs to it. Files are not touched. Its key goes last, so that DeleteRun can be repeated.
func DeleteRun(ctx context.Context, b Broker, id string) error {
	bucket, err := b.Bucket(ctx, runsBucket, 0)
	if err != nil {
		return err
	}
	if err := SetLimits(ctx, b, id, nil); err != nil {
		return err
	}
	if err := b.DeleteQueue(ctx, id); err != nil {
		return err
	}
	if err := b.DeleteBucket(ctx, runBucketPrefix+id); err != nil {
		return err
	}
	return bucket.Delete(ctx, id, 0)
}
