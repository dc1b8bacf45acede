package store

// This file is about the lists that have named a file. The file belongs to all of
// them, and a prune deletes it only when no list claims it any more.

import (
	"slices"
	"strings"
)

// Nameless is the key of every list that has no name of its own, such as standard
// input. No run may release this claim, because no run can know that another
// nameless list is the same list.
const Nameless = "-"

// mostLists is how many named lists a record has, so that an entry of the ledger
// stays short: 32 keys take 543 bytes. A file that more lists name gets the claim
// of Nameless as well, and is never pruned. With half as many, a directory that 17
// lists share would keep files for ever; twice as many would double the bound.
const maxLists = 32

// Lists is the set of lists that claim a file: their keys, sorted. A key is 16 hex
// digits, or Nameless. Empty says that no list made the file. A Lists must not be
// changed in place.
type Lists []string

// With returns l and keys. If l has no room for all of them, it returns l and
// Nameless in their place.
func (l Lists) With(keys ...string) Lists {
	all := slices.Concat(l, keys)
	slices.Sort(all)
	all = slices.Compact(all)
	switch {
	case len(all) == len(l):
		return l
	case all.named() > maxLists:
		return l.With(Nameless)
	}
	return all
}

// named returns how many of the lists have a name.
func (l Lists) named() int {
	if slices.Contains(l, Nameless) {
		return len(l) - 1
	}
	return len(l)
}

// Without returns l without keys.
func (l Lists) Without(keys ...string) Lists {
	return slices.DeleteFunc(slices.Clone(l), func(key string) bool { return slices.Contains(keys, key) })
}

// Has reports whether any of keys is in l.
func (l Lists) Has(keys ...string) bool {
	return slices.ContainsFunc(l, func(key string) bool { return slices.Contains(keys, key) })
}

// String returns the keys with a space between them. A pawl that knew one list for
// each file wrote its key in the same way.
func (l Lists) String() string { return strings.Join(l, " ") }

// MarshalText returns String.
func (l Lists) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (l *Lists) UnmarshalText(text []byte) error {
	*l = Lists(nil).With(strings.Fields(string(text))...)
	return nil
}

// inherit adds the lists of the record that r replaces. A download that no list
// asked for belongs to no list, even if it replaces a file of one.
func (r *Record) inheritLists(old *Record) {
	if len(r.Lists) > 0 {
		r.Lists = r.Lists.With(old.Lists...)
	}
}

// A Claim says that a list has named the file at a path.
type Claim struct {
	Target string // absolute path of the finished file
	List   string // key
}

// Claim records claims, in one transaction. They count for files that a list made,
// finished or not; a path without such a file is skipped. If all claims are on
// record already, nothing is written.
func (s *Store) Claim(claims []Claim) error {
	missing := false
	err := s.read(func(t tx) error {
		missing = slices.ContainsFunc(claims, func(c Claim) bool { return len(t.unclaimed(c)) > 0 })
		return nil
	})
	if err != nil || !missing {
		return err
	}
	return s.write(func(t tx) error {
		for _, c := range claims {
			for _, r := range t.unclaimed(c) {
				r.Lists = r.Lists.With(c.List)
				if err := t.rewrite(&r); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// unclaimed returns the records that c is missing from: of an unfinished download,
// of a finished file, or of both. A damaged record has no claims; LookupTargets forgets it.
func (t tx) unclaimed(c Claim) (all []Record) {
	begun, begunErr := t.unfinishedAt(c.Target)
	done, doneErr := t.finishedAt(c.Target)
	if begunErr == nil && begun.needsClaim(c.List) {
		all = append(all, begun)
	}
	if doneErr == nil && done.needsClaim(c.List) {
		all = append(all, done)
	}
	return all
}

// lacks reports whether a list made the file and the list with this key may be
// added to its lists.
func (r *Record) needsClaim(key string) bool {
	return len(r.Lists) > 0 && len(r.Lists.With(key)) > len(r.Lists)
}

// begun returns the record of the unfinished download to target, or ErrNotFound.
func (t tx) unfinishedAt(target string) (Record, error) {
	id := t.Bucket(targetBucket).Get([]byte(target))
	if id == nil {
		return Record{}, ErrNotFound
	}
	data := t.Bucket(recordBucket).Get(id)
	if data == nil {
		return Record{}, ErrNotFound
	}
	r, err := decodeRecord(data)
	if err == nil && (r.State == Done || r.Target != target) {
		err = ErrNotFound
	}
	return r, err
}

// rewrite writes r in place of the record with its ID, which must be there. The
// indexes stay.
func (t tx) rewrite(r *Record) error {
	bucket, key := recordBucket, []byte(r.ID)
	encode := r.encode
	if r.State == Done {
		bucket, key, encode = ledgerBucket, []byte(r.Target), r.encodeEntry
	}
	data, err := encode()
	if err != nil {
		return err
	}
	return t.Bucket(bucket).Put(key, data)
}

// takeOver adds to r the lists on record of the same download, because another
// process may have claimed it since r was read, and of the finished file that r
// replaces.
func (t tx) inheritClaims(r *Record) {
	if len(r.Lists) == 0 {
		return
	}
	if begun, err := t.unfinishedAt(r.Target); err == nil && begun.ID == r.ID {
		r.inheritLists(&begun)
	}
	if done, err := t.finishedAt(r.Target); err == nil && r.State == Done {
		r.inheritLists(&done)
	}
}
