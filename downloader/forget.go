package downloader

// This file is about how much is remembered of hosts: a list may have millions of them.

const (
	// mostNames is how many addresses of names are remembered, of 150 bytes each. Half costs
	// further look-ups, double 1.5 MiB.
	mostNames = 10_000
)

// trim deletes some entries of m if there are more than most, in no order.
func trim[V any](m map[string]V, most int) {
	if len(m) <= most {
		return
	}
	for name := range m {
		if delete(m, name); len(m) <= most/2 {
			return
		}
	}
}
