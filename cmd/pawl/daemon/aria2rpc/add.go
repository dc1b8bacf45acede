package aria2rpc

import (
	"bytes"
	"errors"
	"net/url"
	"path/filepath"
	"strings"

	"pawl/downloader/list"
	"pawl/downloader/queue"
	"pawl/downloader/weburl"
)

// maxMetalink is the most bytes of a Metalink whose gzip is undone. A file with ten mirrors takes 2 kB.
const maxMetalink = 16 << 20

// errBitTorrent is the answer to torrents and magnet links.
var errBitTorrent = &rpcError{1, "BitTorrent is not supported: pawl downloads over HTTP and HTTPS only"}

// addURI adds a file, which all of the URIs lead to, and returns its GID.
func addURI(x *exchange, p params) (any, error) {
	uris, err := p.texts(0)
	if err != nil {
		return nil, err
	}
	options, place, err := p.optionsAndPlace()
	if err != nil {
		return nil, err
	}
	urls, err := usableURIs(uris)
	if err != nil {
		return nil, err
	}
	d, err := x.newDownload(options)
	if err != nil {
		return nil, err
	}
	d.spec.URLs = urls
	tasks, err := x.add([]queue.Spec{d.spec}, place, d.paused)
	if err != nil {
		return nil, err
	}
	return tasks[0].ID, nil
}

// usableURIs returns the URIs that pawl can download, without duplicates. It is an error if there are none.
func usableURIs(uris []string) (urls []string, err error) {
	if len(uris) == 0 {
		return nil, failf("URI is not provided.")
	}
	var reason error
	seen := make(map[string]bool)
	for _, u := range uris {
		switch err := weburl.Check(u); {
		case strings.HasPrefix(strings.ToLower(u), "magnet:"):
			reason = errBitTorrent
		case err != nil:
			reason = err
		case !seen[u]:
			seen[u] = true
			urls = append(urls, u)
		}
	}
	if len(urls) == 0 {
		return nil, failf("No URI to download: %s", redact(reason))
	}
	return urls, nil
}

// add adds downloads to the queue.
func (x *exchange) add(specs []queue.Spec, at queue.Place, paused bool) ([]queue.Task, error) {
	tasks, err := x.queue.Add(specs, at, paused)
	if errors.Is(err, queue.ErrIDTaken) {
		err = failf("GID %s is not unique.", specs[0].ChosenID)
	}
	return tasks, err
}

// addMetalink adds the files of a Metalink in base64, and returns their GIDs.
func addMetalink(x *exchange, p params) (any, error) {
	encoded, err := p.text(0)
	if err != nil {
		return nil, err
	}
	options, place, err := p.optionsAndPlace()
	if err != nil {
		return nil, err
	}
	d, err := x.newDownload(options)
	if err != nil {
		return nil, err
	}
	specs, err := x.readMetalink(decodeBase64(encoded), d)
	if err != nil {
		return nil, err
	}
	tasks, err := x.add(specs, place, d.paused)
	if err != nil {
		return nil, err
	}
	return gids(tasks), nil
}

// readMetalink returns a spec for each file of a Metalink. Like aria2, it takes the names from there, and gives a
// chosen GID to the first file only.
func (x *exchange) readMetalink(text []byte, d download) (specs []queue.Spec, err error) {
	if len(bytes.TrimSpace(text)) == 0 { // as of a text that is no base64
		return nil, failf("Could not parse Metalink XML document.")
	}
	for e, err := range list.Read("metalink", bytes.NewReader(text), list.Options{Format: list.Metalink, Base: d.base, MaxBytes: maxMetalink}) {
		var problem *list.Problem
		switch {
		case errors.As(err, &problem):
			x.options.Log.Warn("aria2 RPC: " + redact(err))
			continue
		case err != nil:
			return nil, failf("Could not parse Metalink XML document: %s", redact(err))
		}
		s := d.spec
		s.URLs, s.Name = e.URLs, filepath.FromSlash(e.Out)
		if !e.Sum.IsZero() {
			s.Sum = e.Sum
		}
		specs = append(specs, s)
		d.spec.ChosenID = ""
	}
	return specs, nil
}

// addTorrent checks its parameters, so that a client with a mistake hears of that first.
func addTorrent(_ *exchange, p params) (any, error) {
	if _, err := p.text(0); err != nil {
		return nil, err
	}
	return nil, errBitTorrent
}

// setUser sets a part of the user of a download.
func setUser(old *url.Userinfo, name, password *string) *url.Userinfo {
	user, pass := "", ""
	if old != nil {
		user = old.Username()
		pass, _ = old.Password()
	}
	if name != nil {
		user = *name
	}
	if password != nil {
		pass = *password
	}
	if user == "" && pass == "" {
		return nil
	}
	return url.UserPassword(user, pass)
}
