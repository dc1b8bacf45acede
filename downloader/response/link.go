package response

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Duplicates returns the other URLs of the file in the Link fields, by their priority (RFC 6249
// §3, RFC 8288 §3). Relative ones are resolved against base.
func Duplicates(h http.Header, base *url.URL) []string {
	type mirror struct {
		url      string
		priority int
	}
	var all []mirror
	for _, field := range h.Values("Link") {
		for rest := field; ; {
			var target string
			var params map[string]string
			if target, params, rest = nextLink(rest); target == "" {
				break
			}
			u, err := base.Parse(target)
			if err != nil || !slices.Contains(strings.Fields(strings.ToLower(params["rel"])), "duplicate") {
				continue
			}
			priority, err := strconv.Atoi(params["pri"])
			if err != nil || priority < 1 {
				priority = 999999 // the lowest (RFC 6249 §3.1)
			}
			all = append(all, mirror{u.String(), priority})
		}
	}
	slices.SortStableFunc(all, func(a, b mirror) int { return cmp.Compare(a.priority, b.priority) })
	var urls []string
	for _, m := range all {
		urls = append(urls, m.url)
	}
	return urls
}

// nextLink splits the first link off s, which has the form "<target>; name=value; name="value",
// ...". The target is empty if there is no link. If two parameters have the same name, the first
// one counts.
func nextLink(s string) (target string, params map[string]string, rest string) {
	_, s, found := strings.Cut(s, "<")
	if !found {
		return "", nil, ""
	}
	target, s, found = strings.Cut(s, ">")
	if !found {
		return "", nil, ""
	}
	params = make(map[string]string)
	for s = strings.TrimLeft(s, " \t"); strings.HasPrefix(s, ";"); s = strings.TrimLeft(s, " \t") {
		end := strings.IndexAny(s[1:], "=;,") + 1
		if end == 0 {
			end = len(s)
		}
		name, value := strings.ToLower(strings.TrimSpace(s[1:end])), ""
		if s = s[end:]; strings.HasPrefix(s, "=") {
			value, s = linkValue(strings.TrimLeft(s[1:], " \t"))
		}
		if _, known := params[name]; !known {
			params[name] = value
		}
	}
	return strings.TrimSpace(target), params, s
}

// linkValue splits a token or a quoted string off s (RFC 9110 §5.6.4).
func linkValue(s string) (value, rest string) {
	if !strings.HasPrefix(s, `"`) {
		end := strings.IndexAny(s, ";,")
		if end < 0 {
			end = len(s)
		}
		return strings.TrimSpace(s[:end]), s[end:]
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:]
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String(), ""
}
