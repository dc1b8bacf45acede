//go:build !unix

package store

import "testing"

func makePipe(t *testing.T, _ string) { t.Skip("no named pipes") }

func statOf(int64) any { return nil }
