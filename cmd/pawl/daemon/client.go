package daemon

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	"pawl/store"
)

// A Client calls the API of a daemon. Its methods are safe for concurrent use. An error of the API is an
// *Error; ErrNotRunning means that nobody listens at the address. It must not be copied after its first use.
type Client struct {
	// Address is "http://HOST:PORT", "https://HOST:PORT" or "unix:/PATH".
	Address string
	Secret  string
	// Certificate is the SHA-256 of the only certificate that is accepted, in hex; "" for the ones that the system trusts.
	Certificate string
	// HTTP sends the requests; nil for a client of its own that reaches Address.
	HTTP *http.Client

	own sync.Once
}

// clientTime is the time for a request. The daemon answers when a change is durable; a busy disk takes seconds.
const clientTime = time.Minute

// client returns the client that sends the requests.
func (c *Client) client() *http.Client {
	c.own.Do(func() {
		if c.HTTP == nil {
			c.HTTP = &http.Client{Transport: c.transport(), CheckRedirect: func(*http.Request, []*http.Request) error {
				return http.ErrUseLastResponse // a redirect does not come from the daemon
			}}
		}
	})
	return c.HTTP
}

// transport returns a transport without proxies, which would get the secret.
func (c *Client) transport() *http.Transport {
	t := &http.Transport{MaxIdleConnsPerHost: 8, IdleConnTimeout: idleTime / 2}
	if path, ok := strings.CutPrefix(c.Address, "unix:"); ok {
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}
	}
	if c.Certificate != "" {
		t.TLSClientConfig = &tls.Config{
			InsecureSkipVerify: true, // the one certificate is compared instead
			VerifyConnection: func(state tls.ConnectionState) error {
				if sum := sha256.Sum256(state.PeerCertificates[0].Raw); hex.EncodeToString(sum[:]) != c.Certificate {
					return errors.New("this is not the certificate of the daemon")
				}
				return nil
			},
		}
	}
	return t
}

// base returns the URL that paths are appended to.
func (c *Client) base() string {
	if strings.HasPrefix(c.Address, "unix:") {
		return "http://localhost"
	}
	return strings.TrimSuffix(c.Address, "/")
}

// open sends a request, and returns the response if it is no error.
func (c *Client) open(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var in io.Reader
	if body != nil {
		text, err := encode(body)
		if err != nil {
			return nil, err
		}
		in = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base()+apiPrefix+path, in)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.Secret)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.client().Do(req)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT):
		return nil, fmt.Errorf("%w at %s", ErrNotRunning, c.Address)
	case err != nil:
		return nil, fmt.Errorf("the daemon at %s does not answer: %w", c.Address, err)
	case res.StatusCode == http.StatusUnauthorized:
		res.Body.Close()
		return nil, &Error{Status: res.StatusCode, Code: errUnauthorized.Code, Message: fmt.Sprintf("the daemon at %s refuses the secret", c.Address)}
	case res.StatusCode/100 != 2:
		defer res.Body.Close()
		return nil, readError(res)
	}
	return res, nil
}

// readError returns the error in a response.
func readError(res *http.Response) error {
	var answer struct {
		Error *Error `json:"error"`
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&answer); err != nil || answer.Error == nil {
		return fmt.Errorf("the daemon answers %s", res.Status)
	}
	answer.Error.Status = res.StatusCode
	return answer.Error
}

// call sends a request, and decodes the body of the response into *answer, unless answer is nil.
func (c *Client) call(ctx context.Context, method, path string, body, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, clientTime)
	defer cancel()
	res, err := c.open(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if answer == nil {
		return nil
	}
	if err := json.NewDecoder(res.Body).Decode(answer); err != nil {
		return fmt.Errorf("the answer of the daemon at %s cannot be read: %w", c.Address, err)
	}
	return nil
}

// Status returns the state of the daemon.
func (c *Client) Status(ctx context.Context) (st Status, err error) {
	return st, c.call(ctx, http.MethodGet, "/status", nil, &st)
}

// Set changes settings of the daemon.
func (c *Client) Set(ctx context.Context, s Settings) (st Status, err error) {
	return st, c.call(ctx, http.MethodPatch, "/status", s, &st)
}

// taskList is the answer that has several tasks.
type taskList struct {
	Tasks []Task `json:"tasks"`
}

// Tasks returns the unfinished tasks in their order, and then the ended ones, the newest first.
func (c *Client) Tasks(ctx context.Context) ([]Task, error) {
	var list taskList
	err := c.call(ctx, http.MethodGet, "/tasks", nil, &list)
	return list.Tasks, err
}

// taskPath returns the path of a task.
func taskPath(id store.ID) string { return "/tasks/" + url.PathEscape(string(id)) }

// Task returns one task with its Detail. id may be the beginning of an ID.
func (c *Client) Task(ctx context.Context, id store.ID) (t Task, err error) {
	return t, c.call(ctx, http.MethodGet, taskPath(id), nil, &t)
}

// Add adds downloads, all or, if one of them is wrong, none.
func (c *Client) Add(ctx context.Context, all ...Addition) (tasks []Task, err error) {
	return tasks, c.call(ctx, http.MethodPost, "/tasks", all, &tasks)
}

// Change changes a task.
func (c *Client) Change(ctx context.Context, id store.ID, change Change) (t Task, err error) {
	return t, c.call(ctx, http.MethodPatch, taskPath(id), change, &t)
}

// Pause pauses tasks; all that wait or run without ids.
func (c *Client) Pause(ctx context.Context, ids ...store.ID) ([]Task, error) {
	return c.changeStates(ctx, "/tasks/pause", ids)
}

// Resume lets tasks run again; all that are paused without ids.
func (c *Client) Resume(ctx context.Context, ids ...store.ID) ([]Task, error) {
	return c.changeStates(ctx, "/tasks/resume", ids)
}

func (c *Client) changeStates(ctx context.Context, path string, ids []store.ID) ([]Task, error) {
	var body idList
	for _, id := range ids {
		body.IDs = append(body.IDs, string(id))
	}
	var list taskList
	err := c.call(ctx, http.MethodPost, path, body, &list)
	return list.Tasks, err
}

// Remove removes a task, and if files is true, its files.
func (c *Client) Remove(ctx context.Context, id store.ID, files bool) error {
	return c.call(ctx, http.MethodDelete, fmt.Sprintf("%s?files=%t", taskPath(id), files), nil, nil)
}

// Forget removes the tasks that ended from the queue. Their files stay.
func (c *Client) Forget(ctx context.Context) error {
	return c.call(ctx, http.MethodDelete, "/history", nil, nil)
}

// Events yields the events until ctx ends or an error: first "hello", which comes again if
// events were missed.
func (c *Client) Events(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		res, err := c.open(ctx, http.MethodGet, "/events", nil)
		if err != nil {
			yield(Event{}, err)
			return
		}
		defer res.Body.Close()
		for in := bufio.NewReader(res.Body); ; {
			line, err := in.ReadBytes('\n')
			if err != nil {
				yield(Event{}, fmt.Errorf("the daemon at %s sends no more events: %w", c.Address, cmp.Or(ctx.Err(), err)))
				return
			}
			text, ok := bytes.CutPrefix(line, []byte("data: "))
			if !ok {
				continue // a blank line, or a comment that shows that the daemon is alive
			}
			var e Event
			if err := json.Unmarshal(text, &e); err != nil {
				yield(Event{}, fmt.Errorf("an event of the daemon at %s cannot be read: %w", c.Address, err))
				return
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

// OpenURL returns a URL that opens the page in a browser once, within a minute. The daemon must have a port.
func (c *Client) OpenURL(ctx context.Context) (string, error) {
	if strings.HasPrefix(c.Address, "unix:") {
		return "", errors.New("the daemon listens at a Unix socket only, which no browser can open")
	}
	var answer link
	if err := c.call(ctx, http.MethodPost, "/open", nil, &answer); err != nil {
		return "", err
	}
	return c.base() + answer.Path, nil
}

// Stop makes the daemon end.
func (c *Client) Stop(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/stop", nil, nil)
}
