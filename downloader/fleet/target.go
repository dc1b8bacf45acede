package fleet

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// targetFile is in a directory that the processes of a fleet share.
const targetFile = ".pawl-target"

// PrepareTarget returns the ID of a shared directory, which it gives to a new one.
func PrepareTarget(dir string) (id string, err error) {
	path := filepath.Join(dir, targetFile)
	b, err := os.ReadFile(path)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return strings.TrimSpace(string(b)), err
	}
	var random [8]byte
	rand.Read(random[:])
	id = hex.EncodeToString(random[:])
	return id, os.WriteFile(path, []byte(id+"\n"), 0o644)
}
