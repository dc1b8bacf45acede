package mirror

import (
	"cmp"
	"slices"
)

const (
	evictShare = 4        // one frame in so many is made idle at a time, so that writes can be joined
	writeSize  = 64 << 10 // bytes of the longest write
)

// evict makes frames idle that were not used for a while. Those that cannot be
// written stay; then it returns the error, and may have made room all the same.
func (s *spill) evict() error {
	s.choose(max(1, len(s.frames)/evictShare))
	slices.SortFunc(s.victims, func(a, b *frame) int { return cmp.Compare(a.page, b.page) })
	for left := s.victims; len(left) > 0; {
		n := adjoining(left)
		if err := s.flush(left[:n]); err != nil {
			return err
		}
		for _, f := range left[:n] {
			s.drop(f)
		}
		left = left[n:]
	}
	return nil
}

// choose goes round the frames until it has found so many that were not used
// since it last came by. It drops those that are in the file as they are; the
// others are the victims.
func (s *spill) choose(n int) {
	s.victims = s.victims[:0]
	for range 2 * len(s.frames) {
		f := s.frames[s.hand]
		s.hand = (s.hand + 1) % len(s.frames)
		switch {
		case !f.held:
			continue
		case f.used:
			f.used = false
			continue
		case f.lo == f.hi:
			s.drop(f)
		default:
			f.used = true // so as not to be found twice
			s.victims = append(s.victims, f)
		}
		if n--; n == 0 {
			return
		}
	}
}

// span returns what of the file is written when f is: all of a page that is in
// memory whole, so that it adjoins the next.
func (f *frame) span() (off, end int64) {
	at := int64(f.page) * pageSize
	if f.from == 0 {
		return at, at + pageSize
	}
	return at + int64(f.lo), at + int64(f.hi)
}

// adjoining returns how many of the frames one write can take.
func adjoining(fs []*frame) int {
	off, end := fs[0].span()
	for i, f := range fs[1:] {
		from, to := f.span()
		if from != end || to-off > writeSize {
			return i + 1
		}
		end = to
	}
	return len(fs)
}

// flush writes frames that adjoin.
func (s *spill) flush(fs []*frame) error {
	if s.file == nil {
		file, err := s.open()
		if err != nil {
			return err
		}
		s.file = file
	}
	off, _ := fs[0].span()
	s.joined = s.joined[:0]
	for _, f := range fs {
		from, to := f.span()
		at := int64(f.page) * pageSize
		s.joined = append(s.joined, f.data[from-at:to-at]...)
	}
	s.grown = true
	_, err := s.file.WriteAt(s.joined, off)
	return err
}
