package main

import (
	"fmt"
	"io"

	"pawl/cmd/pawl/dropin"
)

// runImport prints the settings of the file that --import names.
func (c *ConfigCmd) runImport(out *printer) error {
	text, err := readConfigFile(c.Import)
	if err != nil {
		return &settingError{"--import", "cannot be used: " + err.Error(), "name an aria2.conf, .curlrc or .wgetrc, or - for standard input"}
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
