package fleet

import (
	"context"
	"errors"
	"iter"
	"time"
)

// The errors of a Broker.
var (
	ErrNoKey    = errors.New("no such key")
	ErrConflict = errors.New("the key has changed") // another process was faster
	ErrNoRun    = errors.New("no such run")
	ErrLease    = errors.New("the lease of the message is over") // somebody else may work on it
)

// A Broker keeps the queues, logs and keys of runs. Everything that it has confirmed must
// survive the end of any process, the broker's own included. It knows nothing of files or hosts.
//
// A queue consists of lanes, each with messages in their order. A message is given to one
// consumer at a time, and to another one if it has been neither extended, acknowledged nor given
// back for the lease. A log is a sequence of entries that all readers see. Runs and lanes consist of
// letters, digits and the characters "-" and "_".
//
// The methods are safe for concurrent use. While the broker cannot be reached they wait until ctx
// ends. The methods that have a run, and the methods of a Message or Bucket, return ErrNoRun if the
// queue or the bucket does not exist or has been deleted.
type Broker interface {
	// CreateQueue creates the queue and the log of a run, and the lanes that it does not have yet.
	CreateQueue(ctx context.Context, run string, lanes []string) error
	// DeleteQueue deletes the queue and the log of a run, if they exist.
	DeleteQueue(ctx context.Context, run string) error
	// Publish appends a message to a lane. It is durable when Publish returns. Of several messages
	// with the same id within an hour, only the first is kept. A crash of the broker may make it
	// forget the ids of messages that are done.
	Publish(ctx context.Context, run, lane, id string, data []byte) error
	// Waiting returns how many messages each lane has, including the messages that are taken. Lanes
	// without messages are missing.
	Waiting(ctx context.Context, run string) (map[string]int, error)
	// Take returns the next message of a lane, or nil if there is none within about a second. It
	// creates the lane if it is missing.
	Take(ctx context.Context, run, lane string) (Message, error)

	// Append appends an entry to the log of a run, as Publish does to a lane.
	Append(ctx context.Context, run, id string, data []byte) error
	// Log yields the entries of the log of a run whose number is above after, waits for further ones, and
	// ends when ctx does. It yields a nil LogEntry.Data whenever it has yielded all
	// entries that are there. If the broker has lost entries, so that after is above the number of the last one, it
	// begins with the first one.
	Log(ctx context.Context, run string, after uint64) iter.Seq2[LogEntry, error]

	// Bucket returns a set of keys, which is created if it is missing; the error is ErrNoRun if this
	// user may not create it. A key expires so long after its last change; 0 means never.
	Bucket(ctx context.Context, name string, expiry time.Duration) (Bucket, error)
	// DeleteBucket deletes a bucket and its keys, if it exists.
	DeleteBucket(ctx context.Context, name string) error

	// Signal sends a signal to all processes that listen now. It is not stored.
	Signal(ctx context.Context, name string) error
	// Signals receives the signals of all processes, including this one, until ctx ends. A receiver
	// that is too slow misses some.
	Signals(ctx context.Context) (<-chan string, error)

	// Check returns everything that is wrong with the broker, in words for its administrator.
	Check(ctx context.Context) ([]string, error)
	// Close ends the connection.
	Close() error
}

// A Message is a message that this process works on.
type Message interface {
	Data() []byte
	// Delivery is 1 for the first time that the message is given to anybody. A crash of the broker may
	// make it count again from a lower number.
	Delivery() int
	// Extend keeps the message for another lease. The error is ErrLease if the last one is over.
	Extend() error
	// Done removes the message, even if its lease is over. It is durable when Done returns. The error
	// is ErrLease if the broker has crashed, has forgotten the delivery, and delivers the message again.
	Done(ctx context.Context) error
	// Back gives the message back, to be delivered again after a wait. The error is ErrLease if the
	// lease is over.
	Back(wait time.Duration) error
}

// A LogEntry is one entry of a log.
type LogEntry struct {
	Seq  uint64 // from 1, growing
	Data []byte
}

// A Bucket is a set of keys, each with a value and a revision that grows with each change. Keys
// consist of letters, digits and the characters "-", "_", "=", "/" and ".", with no "." at either
// end and no two in a row.
type Bucket interface {
	Get(ctx context.Context, key string) (Value, error)                                   // ErrNoKey if there is none
	Create(ctx context.Context, key string, data []byte) (uint64, error)                  // ErrConflict if the key exists
	Update(ctx context.Context, key string, data []byte, revision uint64) (uint64, error) // ErrConflict if the key has another revision
	Put(ctx context.Context, key string, data []byte) (uint64, error)                     // whatever there is
	Delete(ctx context.Context, key string, revision uint64) error                        // ErrConflict if the key has another revision; 0 for any
	// List returns the keys that begin with prefix.
	List(ctx context.Context, prefix string) (map[string]Value, error)
	// Watch receives the keys that begin with prefix as they are now, and each change, until ctx
	// ends or the bucket is deleted. It may leave out values that were replaced soon.
	Watch(ctx context.Context, prefix string) (<-chan Change, error)
}

// A Value is the value of a key.
type Value struct {
	Data     []byte
	Revision uint64
}

// A Change is a key that was changed, deleted or that has expired. Deleted keys have no Data.
type Change struct {
	Key string
	Value
	Deleted bool
}
