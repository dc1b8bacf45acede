package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"

	"pawl/cmd/pawl/bytetext"
	"pawl/downloader"
	"pawl/downloader/weburl"
	"pawl/store"
)

// Validate refuses texts that are no URL. kong calls it after parsing.
func (c *InfoCmd) Validate() error {
	if err := weburl.Check(c.URL); err != nil {
		return fmt.Errorf("%w%s", err, suggestion(c.URL))
	}
	return nil
}

// An infoRow is the object of info --json.
type infoRow struct {
	V            int      `json:"v"`                   // format version
	URL          string   `json:"url"`                 // as typed
	Final        string   `json:"final_url"`           // that answered
	Redirects    []string `json:"redirects,omitempty"` // the last one is final_url
	Status       int      `json:"status"`
	Protocol     string   `json:"protocol"`
	Name         string   `json:"name"` // of the file as it would be stored
	Size         int64    `json:"size"` // bytes; -1 if unknown
	Ranges       string   `json:"ranges"`
	ETag         string   `json:"etag,omitempty"`
	LastModified string   `json:"last_modified,omitempty"`
	Type         string   `json:"type,omitempty"`
	Coding       string   `json:"coding,omitempty"`
	Digests      []string `json:"digests,omitempty"` // ALGO:HEX
	Mirrors      []string `json:"mirrors,omitempty"`
	Seconds      float64  `json:"seconds"` // until the response
}

// Run requests the first byte of the file, and prints the response.
func (c *InfoCmd) Run(ctx context.Context, g *Globals, out *printer) error {
	st, err := g.openAnyStore(out, store.Options{})
	if err != nil {
		return err
	}
	defer st.close()
	opts, err := c.downloaderOptions()
	if err != nil {
		return err
	}
	headers, err := c.openHeaders(ctx, out, c.URL)
	if err != nil {
		return err
	}
	opts.TLS.Certificate = headers.certificate
	show := newDisplay(out, displayOptions{verbose: g.Verbose})
	opts.OnEvent = show.onEvent
	d := downloader.New(st.Store, opts)
	defer d.Close()
	show.start(d)
	i, err := d.Info(ctx, downloader.Request{URL: headers.requestURL(c.URL), Access: downloader.Access{Credentials: headers.forTyped}})
	show.stop()
	if err != nil {
		return fmt.Errorf("%q: %w", weburl.Redact(c.URL), err)
	}
	row := infoRow{
		V: 1, URL: i.URL, Final: i.Final, Redirects: i.Redirects, Status: i.Status, Protocol: i.Protocol, Name: i.Name, Size: i.Size, Ranges: string(i.Ranges),
		ETag: i.ETag, LastModified: i.LastModified, Type: i.Type, Coding: i.Coding, Mirrors: i.Mirrors, Seconds: i.Took.Seconds(),
	}
	for _, sum := range i.Digests {
		row.Digests = append(row.Digests, sum.String())
	}
	if g.JSON {
		return row.writeJSON(out)
	}
	return row.print(out)
}

// writeJSON prints the row for programs.
func (r infoRow) writeJSON(out *printer) error {
	texts := []*string{&r.URL, &r.Final, &r.Name, &r.ETag, &r.LastModified, &r.Type, &r.Coding}
	for _, list := range [][]string{r.Redirects, r.Mirrors} {
		for i := range list {
			texts = append(texts, &list[i])
		}
	}
	for _, t := range texts {
		*t = bytetext.Escape(*t)
	}
	return newJSONEncoder(out.stdout).Encode(r)
}

// print prints the row for people: a line for each thing that the server says.
func (r infoRow) print(out *printer) error {
	total := "unknown"
	if r.Size >= 0 {
		total = strconv.FormatInt(r.Size, 10)
		if r.Size >= 1024 {
			total += " (" + size(r.Size) + ")"
		}
	}
	w := tabwriter.NewWriter(out.stdout, 0, 0, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, printable(value))
		}
	}
	line("url", weburl.Redact(r.URL))
	for _, u := range r.Redirects {
		line("redirect", weburl.Redact(u))
	}
	line("name", r.Name)
	line("size", total)
	line("ranges", r.Ranges)
	line("type", r.Type)
	line("coding", r.Coding)
	line("etag", r.ETag)
	line("last-modified", r.LastModified)
	for _, d := range r.Digests {
		line("digest", d)
	}
	for _, u := range r.Mirrors {
		line("mirror", weburl.Redact(u))
	}
	line("response", strings.TrimSpace(fmt.Sprintf("%s %d in %.3fs", r.Protocol, r.Status, r.Seconds)))
	return w.Flush()
}
