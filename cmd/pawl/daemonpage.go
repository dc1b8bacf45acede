package main

// This file opens the page of the daemon.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"

	server "pawl/cmd/pawl/daemon"
	"pawl/store"
)

// openRunning opens the page of a daemon that runs already. done is false if none does.
func openRunning(ctx context.Context, g *Globals, out *printer) (done bool, err error) {
	client, err := g.findDaemon(out)
	if errors.Is(err, server.ErrNotRunning) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	link, err := client.OpenURL(ctx)
	if errors.Is(err, server.ErrNotRunning) {
		return false, nil
	}
	if err == nil {
		showPage(out, link)
	}
	return err == nil, err
}

// findDaemon returns a client of the daemon of the state directory.
func (g *Globals) findDaemon(out *printer) (*server.Client, error) {
	st, err := g.openStore(out, store.Options{})
	if err != nil {
		return nil, err
	}
	return server.Find(st.dir)
}

// showPage opens a link in the browser, or prints it if there is none.
func showPage(out *printer, link string) {
	program, args := browser()
	cmd := exec.Command(program, append(args, link)...)
	if program == "" || cmd.Start() != nil {
		fmt.Fprintln(out.stdout, link)
		return
	}
	go cmd.Wait() // ends with the browser, or with this process
}

// browser returns the command that opens a link in the user's browser, "" if there is none.
func browser() (program string, args []string) {
	switch runtime.GOOS {
	case "windows":
		return "rundll32", []string{"url.dll,FileProtocolHandler"}
	case "darwin":
		return "open", nil
	}
	if os.Getenv("DISPLAY") == "" && os.Getenv("WAYLAND_DISPLAY") == "" {
		return "", nil
	}
	program, err := exec.LookPath("xdg-open")
	if err != nil {
		return "", nil
	}
	return program, nil
}
