package main

import (
	"context"

	"pawl/downloader/fleet"
)

type runReport struct {
	Report, Failed string
	Wait           bool
}

func (r runReport) run(ctx context.Context, g *Globals, out *printer, b fleet.Broker, id string) error {
	return nil
}
