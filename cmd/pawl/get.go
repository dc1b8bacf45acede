package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"pawl/cmd/pawl/dropin"
	"pawl/downloader"
	"pawl/downloader/list"
	"pawl/downloader/weburl"
	"pawl/store"
)

// Validate refuses impossible options. kong calls it after parsing. It also expands the
// patterns in URLs, and brings options with two spellings into one form.
func (c *GetCmd) Validate() error {
	if err := c.expand(); err != nil {
		return err
	}
	if err := checkChecksumFile(c.Checksums); err != nil {
		return err
	}
	for _, s := range c.URLs {
		switch err := weburl.Check(s); {
		case err != nil && isList(s):
			return fmt.Errorf("%q is a list, and not a URL", s)
		case err != nil && isFile(s):
			return fmt.Errorf("%q is a file on this machine, and not a URL", s)
		case err != nil:
			return fmt.Errorf("%w%s", err, suggestion(s))
		}
	}
	c.resolveOutput()
	if !c.SHA256.IsZero() {
		if a := c.SHA256.Algorithm(); a != "sha256" {
			return fmt.Errorf("--sha256: a digest of %s is an argument of --checksum", a)
		}
		c.Checksum = c.SHA256
	}
	for _, u := range c.Mirror {
		if err := weburl.Check(u); err != nil {
			return fmt.Errorf("--mirror: %w", err)
		}
	}
	if c.Keyring != "" && c.Checksums == "" {
		return errors.New("--keyring is for the signature of a checksum file: --checksums FILE|URL")
	}
	if err := c.SignatureOptions.validate(); err != nil {
		return err
	}
	if len(c.URLs) > 1 && (c.Output != "" || !c.Checksum.IsZero() || len(c.Mirror) > 0) {
		return errors.New("--output, --checksum and --mirror need exactly one URL")
	}
	return nil
}

// maxPatternURLs is how many URLs the patterns of a command line may expand to. It is a
// guess, far above a series of files and far below a mistyped range such as [1-1000000000],
// whose URLs would fill the memory.
const maxPatternURLs = 10_000

// expand replaces each URL with a pattern by the URLs that the pattern stands for. It counts
// them before it creates them, because a pattern such as {a,b}{a,b}… doubles with each pair
// of braces.
func (c *GetCmd) expand() error {
	if !c.Glob {
		return nil
	}
	var all []string
	for _, s := range c.URLs {
		n, err := list.Count(s)
		if err != nil {
			return fmt.Errorf("%w; --no-glob takes the URL literally", err)
		}
		if n+int64(len(all)) > maxPatternURLs {
			return fmt.Errorf("%q expands to %d URLs, more than %d; pawl mirror --glob has no limit", weburl.Redact(s), n, maxPatternURLs)
		}
		urls, err := list.Expand(s)
		if err != nil {
			return err
		}
		all = slices.AppendSeq(all, urls)
	}
	c.URLs = all
	return nil
}

// suggestion returns a guess at the meaning of a word that is not a URL, as the end of an
// error message, or "". For example, "lst" was meant to be the command list.
func suggestion(word string) string {
	if strings.Contains(word, "://") {
		return ""
	}
	if looksLikeHost(word) && weburl.Check("https://"+word) == nil {
		return fmt.Sprintf("; did you mean %q?", "https://"+weburl.Redact(word))
	}
	near := nearestWord(word, maps.Keys(commandFields()))
	if near == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", "pawl "+near)
}

// nearestWord returns the known word that is most similar to a misspelled word, or "" if none
// is within a distance of two letters and has a letter of it. Of several it returns the first in the alphabet.
func nearestWord(word string, known iter.Seq[string]) string {
	near, best := "", 3
	for _, k := range slices.Sorted(known) {
		if d := dropin.Distance(word, k); d < best && d < len(k) { // not <=, so that the first of several stays
			near, best = k, d
		}
	}
	return near
}

// Run downloads the URLs.
func (c *GetCmd) Run(ctx context.Context, g *Globals, out *printer) error {
	return c.thenOnEnd(ctx, out, func() error { return c.run(ctx, g, out) })
}

// run downloads the URLs. The digests of --checksums come before the first file, because a
// file without a digest must not be downloaded at all.
func (c *GetCmd) run(ctx context.Context, g *Globals, out *printer) error {
	st, err := g.openAnyStore(out, store.Options{MinFree: int64(c.MinFree)})
	if err != nil {
		return err
	}
	defer st.close()
	stream, err := c.openStream(out)
	if err != nil {
		return err
	}
	if stream != nil {
		defer stream.Close()
	}
	headers, err := c.openHeaders(ctx, out, slices.Concat([]string{c.Checksums, c.Signature}, c.URLs, c.Mirror)...)
	if err != nil {
		return err
	}
	sums, err := c.checksums(ctx, st, headers, out)
	if err != nil {
		return err
	}
	mirrors := slices.Clone(c.Mirror)
	for i, u := range mirrors {
		mirrors[i] = headers.requestURL(u)
	}
	var requests []downloader.Request
	for i, u := range c.URLs {
		if slices.ContainsFunc(c.URLs[:i], func(v string) bool { return weburl.Key(v) == weburl.Key(u) }) {
			out.note("%q is given twice, but downloaded once", weburl.Redact(u))
			continue
		}
		// Credentials decides anew for each origin, so a redirect to another host gets no secrets.
		req := downloader.Request{URL: headers.requestURL(u), Into: downloader.File{Dir: c.Dir, Output: c.Output}, Mirrors: mirrors, Sum: c.Checksum.Sum, Access: downloader.Access{Credentials: headers.forTyped}}
		if sums.find != nil {
			if req.Sum, err = sums.find(downloader.FilenameFromURL(u)); err != nil {
				return fmt.Errorf("%q: %w", weburl.Redact(u), err)
			}
			req.SumBy = sums.by
		}
		if stream != nil {
			req.Into = downloader.Stream{Writer: stream}
		}
		requests = append(requests, req)
	}
	return (&batch{options: &c.Transfer, globals: g, out: out, store: st, requests: requests, headers: headers, streams: c.Output == "-"}).run(ctx)
}

// checksums reads the file of --checksums. The digestFinder is zero without --checksums. The downloader for the checksum file is closed
// here: its events must not appear in the display of the files.
func (c *GetCmd) checksums(ctx context.Context, st state, headers originHeaders, out *printer) (digestFinder, error) {
	if c.Checksums == "" {
		return digestFinder{}, nil
	}
	opts, err := c.downloaderOptions()
	if err != nil {
		return digestFinder{}, err
	}
	opts.TLS.Certificate = headers.certificate
	d := downloader.New(st.Store, opts)
	defer d.Close()
	lists := c.newListOpener(d, st.dir, downloader.Request{Existing: downloader.Existing{Restart: c.Restart}, Access: downloader.Access{Credentials: headers.forTyped}})
	lists.signature = c.SignatureOptions
	return lists.readChecksums(ctx, c.Checksums, out)
}
