package credentials

import "strings"

// A Challenge is one way in which a server offers to authenticate (RFC 9110 §11.3).
type Challenge struct {
	Scheme string            // in lower case, for example "digest"
	Params map[string]string // by name in lower case; the first of several with the same name; nil for none
}

// ParseChallenges reads the values of WWW-Authenticate or Proxy-Authenticate fields (RFC 9110 §11.6.1). One
// value may have several challenges. Of a malformed challenge, the beginning is returned.
func ParseChallenges(values []string) []Challenge {
	var all []Challenge
	for _, v := range values {
		p := challengeParser{rest: v}
		for p.next() {
		}
		all = append(all, p.found...)
	}
	return all
}

// ParseParams reads a list of parameters without a scheme, as in Authentication-Info (RFC 7615 §3).
func ParseParams(value string) map[string]string {
	all := ParseChallenges([]string{"x " + value})
	if len(all) == 0 {
		return nil
	}
	return all[0].Params
}

// A challengeParser reads one value of a field.
type challengeParser struct {
	rest  string
	found []Challenge
}

const blanks = " \t"

// next reads the next scheme, or the next parameter. It returns false at the end.
func (p *challengeParser) next() bool {
	p.rest = strings.TrimLeft(p.rest, blanks+",")
	word := p.token()
	if word == "" { // no character that may begin anything
		return p.skip()
	}
	after := strings.TrimLeft(p.rest, blanks)
	if strings.HasPrefix(after, "=") {
		return p.param(strings.ToLower(word), strings.TrimLeft(after[1:], blanks))
	}
	p.found = append(p.found, Challenge{Scheme: strings.ToLower(word)})
	p.rest = after
	p.skipToken68()
	return true
}

// skip drops malformed text, up to the next comma.
func (p *challengeParser) skip() bool {
	i := strings.IndexByte(p.rest, ',')
	if i < 0 {
		p.rest = ""
		return false
	}
	p.rest = p.rest[i:]
	return true
}

// token reads a token (RFC 9110 §5.6.2), "" if there is none.
func (p *challengeParser) token() string {
	end := strings.IndexFunc(p.rest, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r) })
	if end < 0 {
		end = len(p.rest)
	}
	word := p.rest[:end]
	p.rest = p.rest[end:]
	return word
}

// skipToken68 drops the data of schemes such as Negotiate, which are no parameters.
func (p *challengeParser) skipToken68() {
	word, _, _ := strings.Cut(p.rest, ",")
	word = strings.TrimRight(word, blanks)
	name, value, isParam := strings.Cut(word, "=")
	if word != "" && !strings.ContainsAny(word, blanks+`"`) && (!isParam || strings.Trim(value, "=") == "" || strings.Contains(name, "/")) {
		p.rest = p.rest[len(word):]
	}
}

// param takes a parameter, whose value rest begins with.
func (p *challengeParser) param(name, rest string) bool {
	p.rest = rest
	var value string
	if strings.HasPrefix(rest, `"`) {
		value = p.quoted()
	} else if value = p.token(); value == "" {
		p.skip()
	}
	if len(p.found) == 0 {
		return true
	}
	c := &p.found[len(p.found)-1]
	if c.Params == nil {
		c.Params = make(map[string]string)
	}
	if _, known := c.Params[name]; !known {
		c.Params[name] = value
	}
	return true
}

// quoted reads a quoted string (RFC 9110 §5.6.4), which may lack its end.
func (p *challengeParser) quoted() string {
	var b strings.Builder
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '"':
			p.rest = p.rest[i+1:]
			return b.String()
		case c == '\\' && i+1 < len(p.rest):
			i++
			b.WriteByte(p.rest[i])
		default:
			b.WriteByte(c)
		}
	}
	p.rest = ""
	return b.String()
}
