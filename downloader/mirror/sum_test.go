package mirror

import (
	"crypto/sha256"
	"fmt"

	"pawl/downloader/faultserver"
)

// crc returns the digest of f as a list has it.
func crc(f faultserver.File) string {
	b := make([]byte, f.Size)
	f.ReadAt(b, 0)
	return fmt.Sprintf("sha-256=%x", sha256.Sum256(b))
}
