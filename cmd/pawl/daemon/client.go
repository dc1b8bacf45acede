package daemon

import (
	"context"
	"iter"
	"net/http"

	"pawl/store"
)

// A Client calls the API of a daemon. Its methods are safe for concurrent use. An error of the API is an
// *Error; ErrNotRunning means that nobody listens at the address.
type Client struct {
	// Address is "http://HOST:PORT", "https://HOST:PORT" or "unix:/PATH".
	Address string
	Secret  string
	// HTTP sends the requests; nil for a client of its own that reaches Address.
	HTTP *http.Client
}

// Status returns the state of the daemon.
func (c *Client) Status(ctx context.Context) (Status, error) { panic("not yet") }

// Set changes settings of the daemon.
func (c *Client) Set(ctx context.Context, s Settings) (Status, error) { panic("not yet") }

// Tasks returns the unfinished tasks in their order, and then those that ended, the newest first.
func (c *Client) Tasks(ctx context.Context) ([]Task, error) { panic("not yet") }

// Task returns one task with its Detail. id may be the beginning of an ID.
func (c *Client) Task(ctx context.Context, id store.ID) (Task, error) { panic("not yet") }

// Add adds downloads, all or none.
func (c *Client) Add(ctx context.Context, all ...Addition) ([]Task, error) { panic("not yet") }

// Change changes a task.
func (c *Client) Change(ctx context.Context, id store.ID, change Change) (Task, error) {
	panic("not yet")
}

// Pause pauses tasks; all that wait or run without ids.
func (c *Client) Pause(ctx context.Context, ids ...store.ID) ([]Task, error) { panic("not yet") }

// Resume lets tasks run again; all that are paused without ids.
func (c *Client) Resume(ctx context.Context, ids ...store.ID) ([]Task, error) { panic("not yet") }

// Remove removes a task, and if files is true, its files.
func (c *Client) Remove(ctx context.Context, id store.ID, files bool) error { panic("not yet") }

// Forget removes the tasks that ended from the queue. Their files stay.
func (c *Client) Forget(ctx context.Context) error { panic("not yet") }

// Events yields what happens until ctx ends or an error: first "hello", which comes again if
// events were missed.
func (c *Client) Events(ctx context.Context) iter.Seq2[Event, error] { panic("not yet") }

// OpenURL returns a URL that opens the page in a browser once, within a minute. The daemon must have a port.
func (c *Client) OpenURL(ctx context.Context) (string, error) { panic("not yet") }

// Stop makes the daemon end.
func (c *Client) Stop(ctx context.Context) error { panic("not yet") }
