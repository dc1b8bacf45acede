package store

// Records returns the records of all downloads and finished files.
func (s *Store) Records() ([]Record, error) {
	all, err := s.Unfinished()
	for r, ferr := range s.Finished("") {
		if ferr != nil {
			return all, ferr
		}
		all = append(all, r)
	}
	return all, err
}
