package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"pawl/store"
)

const (
	// A file that ends its workers costs three of them: the first one has only its batch, because nothing is written before a file begins
	// there; the second one has it besides others (markedDeaths), and the third one alone (soloDeaths). A small fleet whose
	// workers nobody restarts is not lost then. Others are hardly blamed for machines that are taken away: a file
	// must be in work at the second and at the third end, without a new byte, and be alone at the third.

	// maxStrikes is how many workers may end while they are known to have a file before it counts as failed. Fewer
	// would blame files for machines that are taken away; each further one costs another worker.
	maxStrikes = 2
	// markedDeaths is how many workers must have ended with a batch before each file is marked when it begins. With none, each small file
	// would cost a write.
	markedDeaths = 1
	// soloDeaths is how many workers must have ended with a batch before its files are fetched one by one,
	// with nothing else in the process. One is the usual price of machines that are taken away.
	soloDeaths = 2
	// maxInline limits the JSON of a Handoff within a checkpoint, which is written as a whole each time. It is about
	// that of a file of 1 GiB. At half, such files cost a further key; double writes twice as much every 5 s.
	maxInline = 8 << 10
	// maxCheckpoint limits the JSON of all Handoffs within a checkpoint, so that it fits into a message.
	maxCheckpoint = 192 << 10
)

// A checkpoint says what has been done of a batch: the value of the key "task.<batch>" in the bucket of
// the run. Only the worker that has the batch can write it, because whoever takes a batch over changes
// its revision first.
type checkpoint struct {
	Version int    `json:"v"`
	Owner   string `json:"owner"` // of the batch; no other delivery ever has the same; "" before the first one
	Worker  string `json:"worker,omitempty"`
	// Backs is how many deliveries of the message have ended in order. The others were lost with their
	// workers.
	Backs   int                `json:"backs,omitempty"`
	Done    bitset             `json:"done,omitempty"`    // files that have ended and are in the log, or in a batch of the next round
	Now     map[int]int64      `json:"now,omitempty"`     // marked files, which are being fetched, and the bytes that each had at the beginning
	Strikes map[int]int        `json:"strikes,omitempty"` // how many workers have ended with a marked file
	Parts   map[int]partOnDisk `json:"parts,omitempty"`   // of unfinished files
}

// A partOnDisk is an unfinished download, which another worker can continue.
type partOnDisk struct {
	// Handoff lacks the Pages if Pages lists them. It is nil for a part file on the local disk of the worker.
	Handoff *store.Handoff `json:"h,omitempty"`
	Owner   string         `json:"owner,omitempty"` // of the keys of the pages
	Pages   []int          `json:"pages,omitempty"` // numbers of the pages, which have keys of their own
	Held    int64          `json:"held,omitempty"`  // bytes
}

// A bitset is a set of small numbers.
type bitset []byte

func (b bitset) has(i int) bool { return i/8 < len(b) && b[i/8]&(1<<(i%8)) != 0 }

func (b *bitset) add(i int) {
	for len(*b) <= i/8 {
		*b = append(*b, 0)
	}
	(*b)[i/8] |= 1 << (i % 8)
}

func (c *checkpoint) clone() checkpoint {
	n := *c
	n.Done, n.Now, n.Strikes, n.Parts = slices.Clone(c.Done), maps.Clone(c.Now), maps.Clone(c.Strikes), maps.Clone(c.Parts)
	return n
}

// takeOver makes c the checkpoint of a new delivery. It returns how many workers have ended with the batch.
// A worker that ended while it had a marked file is a strike for that file, unless bytes of the file have arrived
// meanwhile: then the end of the worker has other reasons.
func (c *checkpoint) takeOver(delivery int, owner, worker string) (deaths int) {
	deaths = max(0, delivery-1-c.Backs)
	for i, held := range c.Now {
		if c.Parts[i].Held > held {
			continue
		}
		if c.Strikes == nil {
			c.Strikes = make(map[int]int)
		}
		c.Strikes[i]++
	}
	c.Version, c.Owner, c.Worker, c.Now = version, owner, worker, nil
	return deaths
}

// givenUp returns the files that have been given up.
func (c *checkpoint) givenUp() (files []int) {
	for i, n := range c.Strikes {
		if n >= maxStrikes && !c.Done.has(i) {
			files = append(files, i)
		}
	}
	slices.Sort(files)
	return files
}

// checkpoints reads and writes the checkpoint of one batch. Its methods must not be called at the same
// time.
type checkpoints struct {
	bucket   Bucket
	batch    string
	owner    string
	revision uint64 // of the last read or written checkpoint, 0 if there is none
	begun    bool   // a worker had written one when the batch was taken over
	pages    bool   // there may be keys of pages
}

func (c *checkpoints) key() string { return "task." + c.batch }

// pageKey returns the key of a page of the checksums of a file. The owner is part of it, so that a worker that has
// lost the batch cannot change a page of the next one.
func (c *checkpoints) pageKey(file int, owner string, page int) string {
	return fmt.Sprintf("sums.%s.%d.%s.%d", c.batch, file, owner, page)
}

// read returns the checkpoint, the zero one if there is none.
func (c *checkpoints) read(ctx context.Context) (cp checkpoint, err error) {
	v, err := c.bucket.Get(ctx, c.key())
	if errors.Is(err, ErrNoKey) {
		c.revision = 0
		return cp, nil
	}
	if err != nil {
		return cp, err
	}
	var head struct {
		Version int `json:"v"`
	}
	if err := json.Unmarshal(v.Data, &head); err != nil {
		return cp, fmt.Errorf("checkpoint of batch %q: %w", c.batch, err)
	}
	if head.Version > version {
		return cp, newerError(head.Version)
	}
	if err := json.Unmarshal(v.Data, &cp); err != nil {
		return cp, fmt.Errorf("checkpoint of batch %q: %w", c.batch, err)
	}
	c.revision = v.Revision
	for _, p := range cp.Parts {
		c.pages = c.pages || len(p.Pages) > 0
	}
	return cp, nil
}

// write writes the checkpoint. The error is ErrConflict if another worker has the batch.
func (c *checkpoints) write(ctx context.Context, cp checkpoint) error {
	data := encode(cp)
	for {
		var revision uint64
		var err error
		if c.revision == 0 {
			revision, err = c.bucket.Create(ctx, c.key(), data)
		} else {
			revision, err = c.bucket.Update(ctx, c.key(), data, c.revision)
		}
		if err == nil {
			c.revision = revision
			return nil
		}
		if !errors.Is(err, ErrConflict) {
			return err
		}
		v, getErr := c.bucket.Get(ctx, c.key())
		if getErr != nil {
			if errors.Is(getErr, ErrNoKey) {
				return err
			}
			return getErr
		}
		var there checkpoint
		if json.Unmarshal(v.Data, &there) != nil || there.Owner != c.owner || v.Revision == c.revision {
			return err
		}
		c.revision = v.Revision // an earlier write was done, but not confirmed
	}
}

// takeOver reads the checkpoint, and makes it that of this delivery, so that no earlier worker can
// write it any more. It also writes the first one, because a broker that was killed may call the second delivery the first.
func (c *checkpoints) takeOver(ctx context.Context, delivery int, worker string) (cp checkpoint, deaths int, err error) {
	for {
		if cp, err = c.read(ctx); err != nil {
			return cp, 0, err
		}
		c.begun = cp.Owner != ""
		deaths = cp.takeOver(delivery, c.owner, worker)
		if err = c.write(ctx, cp); !errors.Is(err, ErrConflict) || ctx.Err() != nil {
			return cp, deaths, err
		}
	}
}

// setPart sets the part file of a file.
func (c *checkpoint) setPart(i int, part partOnDisk) {
	if c.Parts == nil {
		c.Parts = make(map[int]partOnDisk)
	}
	c.Parts[i] = part
}

// room returns how many bytes further Handoffs may have within c, or the ones that replace those of the files that again selects.
func (c *checkpoint) room(again func(i int) bool) int {
	room := maxCheckpoint
	for i, part := range c.Parts {
		if part.Handoff != nil && !again(i) {
			room -= len(encode(part.Handoff))
		}
	}
	return room
}

// addPart adds the part file of file i to cp, which has room for further bytes: with its pages, or with keys for them, of which
// only the changed ones are written. paged says that they have keys already.
func (c *checkpoints) addPart(ctx context.Context, cp *checkpoint, i int, h store.Handoff, changed []store.SumPage, paged bool, room *int) error {
	part := partOnDisk{Handoff: &h, Owner: c.owner, Held: h.Record.Held.Len()}
	if size := len(encode(h)); !paged && size <= maxInline && size <= *room {
		*room -= size
		cp.setPart(i, part)
		return nil
	}
	if err := c.putPages(ctx, i, changed); err != nil {
		return err
	}
	for _, pg := range h.Pages {
		part.Pages = append(part.Pages, pg.Number)
	}
	h.Pages = nil
	cp.setPart(i, part)
	return nil
}

// begin writes the checkpoint of a batch that no worker has yet, unless it names no part file. The batch may have been queued
// before, by a process that was killed before it could say so; then the checkpoint stays as it is.
func (c *checkpoints) begin(ctx context.Context, cp checkpoint) error {
	if len(cp.Parts) == 0 {
		return nil
	}
	cp.Version = version
	if err := c.write(ctx, cp); !errors.Is(err, ErrConflict) {
		return err
	}
	return nil
}

// putPages writes pages of checksums.
func (c *checkpoints) putPages(ctx context.Context, file int, pages []store.SumPage) error {
	for _, pg := range pages {
		c.pages = true
		if _, err := c.bucket.Put(ctx, c.pageKey(file, c.owner, pg.Number), pg.Data); err != nil {
			return err
		}
	}
	return nil
}

// handoff returns the Handoff of an unfinished file with its pages. A page that is missing costs its pieces.
func (c *checkpoints) handoff(ctx context.Context, file int, p partOnDisk) (store.Handoff, error) {
	h := *p.Handoff
	for _, n := range p.Pages {
		v, err := c.bucket.Get(ctx, c.pageKey(file, p.Owner, n))
		if errors.Is(err, ErrNoKey) {
			continue
		}
		if err != nil {
			return h, err
		}
		h.Pages = append(h.Pages, store.SumPage{Number: n, Data: v.Data})
	}
	return h, nil
}

// delete deletes the checkpoint and its pages, unless another worker has written it.
func (c *checkpoints) delete(ctx context.Context) error {
	if c.revision != 0 {
		if err := c.bucket.Delete(ctx, c.key(), c.revision); err != nil {
			return err
		}
	}
	if !c.pages {
		return nil
	}
	return c.deletePages(ctx, func(int, string) bool { return true })
}

// deletePages deletes the pages that drop selects by the file and the owner.
func (c *checkpoints) deletePages(ctx context.Context, drop func(file int, owner string) bool) error {
	prefix := "sums." + c.batch + "."
	values, err := c.bucket.List(ctx, prefix)
	if err != nil {
		return err
	}
	for key := range values {
		fields := strings.Split(strings.TrimPrefix(key, prefix), ".")
		file, err := strconv.Atoi(fields[0])
		if err != nil || len(fields) != 3 || !drop(file, fields[1]) {
			continue
		}
		if err := c.bucket.Delete(ctx, key, 0); err != nil {
			return err
		}
	}
	return nil
}

// newerError returns an ErrNewer that names the version.
func newerError(v int) error { return fmt.Errorf("message version %d: %w", v, ErrNewer) }

// count returns the number of elements.
func (b bitset) count() (n int) {
	for _, x := range b {
		n += bits.OnesCount8(x)
	}
	return n
}
