package main

import (
	"fmt"
	"io"

	"pawl/cmd/pawl/dropin"
)

// ConfigCmd turns the configuration files of other tools into pawl's.
type ConfigCmd struct {
	Import string `required:"" env:"-" placeholder:"FILE" type:"path" help:"Print the settings of FILE, an aria2.conf, .curlrc or .wgetrc, as a config file of pawl. Comments say what has no meaning here; - reads standard input."`
}

// Run prints the imported settings.
func (c *ConfigCmd) Run(out *printer) error {
	text, err := readConfigFile(c.Import)
	if err != nil {
		return err
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
