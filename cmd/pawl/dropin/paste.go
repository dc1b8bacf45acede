package dropin

import (
	"errors"
	"path"
	"strings"

	"pawl/downloader/credentials"
)

// A Request is the HTTP request of a pasted curl command, for example of a browser's "copy as cURL".
type Request struct {
	URL       string
	Header    []string // "Name: value"
	UserAgent string   // "" for none
	Referer   string   // "" for none
	Insecure  bool
	Warnings  []string
}

// ReadCurl reads a pasted curl command. Options that only name the output file, or change how curl works,
// have no effect. The Request has a warning for each file or proxy that the command names. An error is a
// *RefusedError, and contains no value of an option.
func ReadCurl(command string, env Env) (Request, error) {
	r, err := readRequest(command, env)
	if err != nil {
		return Request{}, &RefusedError{"curl", err.Error()}
	}
	return r, nil
}

func readRequest(command string, env Env) (r Request, err error) {
	words, err := Words(command)
	if err != nil {
		return r, err
	}
	for len(words) > 0 && (words[0] == "$" || words[0] == ">" || words[0] == "%") { // the prompt
		words = words[1:]
	}
	if len(words) == 0 || !isCurl(words[0]) {
		return r, errors.New(`the text does not begin with "curl"; copy the request as cURL`)
	}
	c := newCurl(curlTool(), env)
	if err := c.parse(words[1:]); err != nil {
		return r, err
	}
	if err := c.addCollected(); err != nil {
		return r, err
	}
	if len(c.urls) != 1 {
		return r, errors.New("the command must have one URL")
	}
	r = Request{URL: c.urls[0], Warnings: c.warnings}
	for _, arg := range c.args {
		name, value, _ := strings.Cut(arg, "=")
		switch name {
		case "--header":
			r.Header = append(r.Header, value)
		case "--user":
			user, password, hasPassword := strings.Cut(value, ":")
			if !hasPassword {
				return r, errors.New("-u has no password; give the user to pawl, with -u")
			}
			r.Header = append(r.Header, "Authorization: "+credentials.Basic(user, password))
		case "--user-agent":
			r.UserAgent = value
		case "--referer":
			r.Referer = value
		case "--insecure":
			r.Insecure = true
		case "--load-cookies", "--cert", "--key", "--cacert", "--netrc-file", "--proxy", "--resolve":
			r.Warnings = append(r.Warnings, name+" is not taken from the command; give it to pawl, too")
		}
	}
	return r, nil
}

// isCurl reports whether a word is the program curl.
func isCurl(word string) bool {
	name := path.Base(strings.ReplaceAll(strings.ToLower(word), `\`, "/"))
	return strings.TrimSuffix(name, ".exe") == "curl"
}
