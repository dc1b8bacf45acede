package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// resolveOutput decides whether --output is a file, a directory for the files of all URLs (DIR/, or an
// existing directory), or standard output.
func (c *GetCmd) resolveOutput() {
	switch path := c.outputPath(); {
	case c.Output == "" || c.Output == "-":
	case c.Output == "/dev/stdout": // as curl users type it
		c.Output = "-"
	case os.IsPathSeparator(c.Output[len(c.Output)-1]), isDirectory(path):
		c.Dir, c.Output = path, ""
	}
}

// outputPath returns the path that --output means.
func (c *GetCmd) outputPath() string {
	if filepath.IsAbs(c.Output) {
		return filepath.Clean(c.Output)
	}
	return filepath.Join(c.Dir, c.Output)
}

func isDirectory(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// openStream opens the output if it is no file, and gets the bytes in order: standard output, or a
// device such as /dev/null. Nothing is recorded then. It returns nil for a file.
func (c *GetCmd) openStream(out *printer) (io.WriteCloser, error) {
	var to io.WriteCloser
	if c.Output == "-" {
		to = outputStream{"standard output", out.stdout}
	} else if path := c.outputPath(); c.Output != "" && isStreamPath(path) {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return nil, &outputError{path, err}
		}
		to = outputStream{path, f}
	}
	if s, ok := to.(outputStream); ok && isTerminal(s.Writer) {
		s.Close()
		return nil, usageErr{errors.New(s.name + " is a terminal; use a pipe, or -o FILE")}
	}
	return to, nil
}

// isStreamPath reports whether path is a character device, such as /dev/null, or an open pipe of
// this process, such as /dev/fd/3. Other pipes may be the user's, and are not written to.
func isStreamPath(path string) bool {
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	mode := info.Mode()
	own := strings.HasPrefix(path, "/dev/") || strings.HasPrefix(path, "/proc/self/fd/")
	return mode&fs.ModeCharDevice != 0 || own && mode&(fs.ModeNamedPipe|fs.ModeSocket) != 0
}

// An outputStream is an output that is no file. Close closes it if pawl has opened it.
type outputStream struct {
	name string
	io.Writer
}

func (s outputStream) Write(b []byte) (int, error) {
	n, err := s.Writer.Write(b)
	var path *fs.PathError
	if errors.As(err, &path) {
		err = &outputError{s.name, path.Err}
	}
	return n, err
}

func (s outputStream) Close() error {
	if f, ok := s.Writer.(*os.File); ok && f != os.Stdout {
		return f.Close()
	}
	return nil
}
