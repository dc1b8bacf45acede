package aria2rpc

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"regexp"
	"strings"
)

// A query is a request as aria2 has it in a URL, for scripts of web pages ("JSON-RPC using HTTP GET" in
// aria2c(1)): method, id and params, of which the last is base64 of JSON; without the first two, params is a
// whole request.
type query struct {
	text     string // the request as JSON
	callback string // a function that the answer is an argument of; "" for none
}

// callbackPattern allows names of functions only, because another text would be a script of its own.
var callbackPattern = regexp.MustCompile(`^[A-Za-z_$][A-Za-z0-9_$.]{0,127}$`)

// parseQuery reads the part of a URL behind the question mark. A "+" is no blank, because base64 has it.
func parseQuery(raw string) (q query) {
	values := make(map[string]string)
	for part := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(part, "=")
		if plain, err := url.PathUnescape(value); err == nil {
			value = plain
		}
		values[name] = value
	}
	if c := values["jsoncallback"]; callbackPattern.MatchString(c) {
		q.callback = c
	}
	params := string(decodeBase64(values["params"]))
	method, hasMethod := values["method"]
	id, hasID := values["id"]
	if method == "" && id == "" {
		q.text = params
		return q
	}
	var parts []string
	if hasMethod {
		parts = append(parts, `"method":`+quote(method))
	}
	if hasID {
		parts = append(parts, `"id":`+quote(id))
	}
	if params != "" {
		parts = append(parts, `"params":`+params)
	}
	q.text = "{" + strings.Join(parts, ",") + "}"
	return q
}

// quote returns a text as JSON.
func quote(text string) string {
	b, _ := json.Marshal(text) // never fails
	return string(b)
}

// decodeBase64 decodes base64, with or without padding and line breaks, in either alphabet. It returns the bytes
// before the first wrong character.
func decodeBase64(text string) []byte {
	text = strings.NewReplacer("-", "+", "_", "/", "\n", "", "\r", "", " ", "").Replace(text)
	text = strings.TrimRight(text, "=")
	out := make([]byte, base64.RawStdEncoding.DecodedLen(len(text)))
	n, _ := base64.RawStdEncoding.Decode(out, []byte(text))
	return out[:n]
}

// wrap returns the answer as the argument of the callback.
func (q query) wrap(body []byte) []byte {
	if q.callback == "" {
		return body
	}
	return []byte(q.callback + "(" + string(body) + ")")
}

func (q query) contentType() string {
	if q.callback == "" {
		return contentType
	}
	return "text/javascript"
}
