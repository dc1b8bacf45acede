package store

// This file implements claims: a file belongs to all lists that have named it, and a
// prune deletes it only when no list claims it any more.

import (
	"slices"
	"strings"
)

// Nameless is the key of every list without a name of its own, such as standard input. No
// run may release this claim, because no run can know whether two nameless lists are the
// same list.
const Nameless = "-"

// maxLists is the number of named lists that a record can hold. It bounds the size of a
// ledger entry: 32 keys take 543 bytes. A file that more lists name gets the key Nameless
// as well and is never pruned. With half as many, a directory that 17 lists share would
// never be pruned; twice as many double the size.
const maxLists = 32

// Lists is the set of lists that claim a file: their keys, sorted and unique. A key is 16
// hex digits, or Nameless. An empty Lists means that the user asked for the file
// directly. A Lists must not be modified in place, because records share it.
type Lists []string

// With returns l with keys added. If the result would have more than maxLists names, it
// returns l with Nameless instead.
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

// named returns the number of keys other than Nameless.
func (l Lists) named() int {
	if slices.Contains(l, Nameless) {
		return len(l) - 1
	}
	return len(l)
}

// Without returns l with keys removed.
func (l Lists) Without(keys ...string) Lists {
	return slices.DeleteFunc(slices.Clone(l), func(key string) bool { return slices.Contains(keys, key) })
}

// Has reports whether l contains any of keys.
func (l Lists) Has(keys ...string) bool {
	return slices.ContainsFunc(l, func(key string) bool { return slices.Contains(keys, key) })
}

// areValid reports whether all keys have the form of a key.
func (l Lists) areValid() bool {
	return !slices.ContainsFunc(l, func(key string) bool { return key != Nameless && !isHex(key, 8) })
}

// String returns the keys separated by spaces.
func (l Lists) String() string { return strings.Join(l, " ") }

// MarshalText implements encoding.TextMarshaler with the form of String.
func (l Lists) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler for the form of String.
func (l *Lists) UnmarshalText(text []byte) error {
	*l = Lists(nil).With(strings.Fields(string(text))...)
	return nil
}

// inheritLists adds the lists of old, which r replaces, to r. If no list asked for r, it
// stays without lists, even if it replaces a file of a list.
func (r *Record) inheritLists(old *Record) {
	if len(r.Lists) > 0 {
		r.Lists = r.Lists.With(old.Lists...)
	}
}

// A Claim says that a list has named the file at a path.
type Claim struct {
	Target string // absolute path of the finished file
	List   string // key of the list
}

// Claim records claims in one transaction. A claim counts only for a file that some list
// has asked for, finished or not; other claims are skipped. If all claims are on record
// already, Claim writes nothing.
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

// unclaimed returns the records at c.Target that lack the claim: of an unfinished
// download, of a finished file, or of both. It skips a damaged record, which
// LookupTargets will delete.
func (t tx) unclaimed(c Claim) (all []Record) {
	unfinished, unfinishedErr := t.unfinishedAt(c.Target)
	done, doneErr := t.finishedAt(c.Target)
	if unfinishedErr == nil && unfinished.needsClaim(c.List) {
		all = append(all, unfinished)
	}
	if doneErr == nil && done.needsClaim(c.List) {
		all = append(all, done)
	}
	return all
}

// needsClaim reports whether a list asked for the file and key can be added to its lists.
func (r *Record) needsClaim(key string) bool {
	return len(r.Lists) > 0 && len(r.Lists.With(key)) > len(r.Lists)
}

// unfinishedAt returns the record of the unfinished download to target, or ErrNotFound.
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
	if err == nil && (r.Target != target) {
		err = ErrNotFound
	}
	return r, err
}

// rewrite writes r over the stored record with the same key. It does not touch the
// indexes.
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

// inheritClaims adds to r the lists of the stored record of the same download, because
// another process may have claimed it since r was read. If r is Done, it also adds the
// lists of the finished file that r replaces.
func (t tx) inheritClaims(r *Record) {
	if len(r.Lists) == 0 {
		return
	}
	if unfinished, err := t.unfinishedAt(r.Target); err == nil && unfinished.ID == r.ID {
		r.inheritLists(&unfinished)
	}
	if done, err := t.finishedAt(r.Target); err == nil && r.State == Done {
		r.inheritLists(&done)
	}
}
