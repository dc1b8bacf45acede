package main

import (
	"fmt"
	"io"

	"pawl/cmd/pawl/dropin"
)

// An importError reports that the file of --import cannot be read.
type importError struct{ error }

func (e importError) Unwrap() error { return e.error }

// runImport prints the settings of the file that --import names.
func (c *ConfigCmd) runImport(out *printer) error {
	text, err := readConfigFile(c.Import)
	if err != nil {
		return importError{fmt.Errorf("--import cannot be used: %w", err)}
	}
	config, tool, err := dropin.Import(c.Import, string(text), dropinEnv())
	if err != nil {
		return usageErr{fmt.Errorf("%q: %w", c.Import, err)}
	}
	if _, err := io.WriteString(out.stdout, config); err != nil {
		return err
	}
	out.note("%q has been read as a configuration file of %s; if it has secrets, restrict the new one with: chmod 600", c.Import, tool)
	return nil
}
