package response

// This file reads the name of a file from a Content-Disposition field (RFC 6266) as browsers do:
// it also understands the mistakes that servers really make, because the alternative is a name
// such as "download" or "get.php".

import (
	"cmp"
	"mime"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

// dispositionName returns the name in a Content-Disposition field, "" if it has none. The name
// may contain any characters, and need not be UTF-8. In this order it may come from
//
//	filename*=UTF-8''a%20b.zip     the extended notation (RFC 8187), if it has no mistake
//	filename="a b.zip"             also percent-encoded, or with encoded words (RFC 2047)
//	filename*0="a b"; filename*1=  continuations (RFC 2231 §3)
//	filename*=a%zz.zip             an extended notation with a mistake
func dispositionName(disposition string) string {
	params := dispositionParams(disposition)
	extended, correct := decodeExtended(params["filename*"])
	if correct && extended != "" {
		return extended
	}
	return cmp.Or(decodePlain(params["filename"]), continued(params), extended)
}

// dispositionParams returns the parameters of a Content-Disposition field by their names in lower
// case. Of several parameters of the same name it returns the first. The names may follow each
// other without a semicolon, and blanks may surround everything.
func dispositionParams(field string) map[string]string {
	params := make(map[string]string)
	for field != "" {
		end := strings.IndexAny(field, "=;")
		if end < 0 {
			break
		}
		words := strings.Fields(strings.ToLower(field[:end]))
		separator := field[end]
		field = field[end+1:]
		if separator == ';' || len(words) == 0 {
			continue
		}
		name := words[len(words)-1] // "attachment filename=a" lacks its semicolon
		var value string
		value, field = cutValue(strings.TrimLeft(field, " \t"))
		if _, known := params[name]; !known {
			params[name] = value
		}
	}
	return params
}

// cutValue cuts the value of a parameter from the beginning of text. A quotation mark ends a
// quoted value only in front of a semicolon or the end, because some servers do not escape those
// inside. A backslash escapes only quotation marks and backslashes: some servers send the path
// of the file on a Windows machine.
func cutValue(text string) (value, rest string) {
	if quoted, ok := strings.CutPrefix(text, `"`); ok {
		var b strings.Builder
		for i := 0; i < len(quoted); i++ {
			c := quoted[i]
			switch {
			case c == '\\' && i+1 < len(quoted) && (quoted[i+1] == '"' && strings.Contains(quoted[i+2:], `"`) || quoted[i+1] == '\\'):
				i++
				b.WriteByte(quoted[i])
			case c == '"' && endsValue(quoted[i+1:]):
				return b.String(), strings.TrimPrefix(strings.TrimLeft(quoted[i+1:], " \t"), ";")
			default:
				b.WriteByte(c)
			}
		}
		text = quoted // the quotation has no end
	}
	value, rest, _ = strings.Cut(text, ";")
	value = strings.TrimRight(value, " \t")
	if n := len(value); n > 2 && value[0] == '\'' && value[n-1] == '\'' { // quoted like a string of a script
		value = value[1 : n-1]
	}
	return value, rest
}

// endsValue reports whether a quotation mark in front of rest ends a value: the next parameter, or
// nothing, follows.
func endsValue(rest string) bool {
	for i := range len(rest) {
		if rest[i] != ' ' && rest[i] != '\t' {
			return rest[i] == ';'
		}
	}
	return true
}

// decodePlain returns the name in a filename parameter. Its percent escapes have no meaning in
// RFC 6266, but browsers decode them, so servers send them.
func decodePlain(value string) string {
	if strings.Contains(value, "=?") {
		if decoded, err := new(mime.WordDecoder).DecodeHeader(value); err == nil {
			value = decoded
		}
	}
	if !utf8.ValidString(value) {
		return decodeLatin1(value)
	}
	if decoded := unescape(value); utf8.ValidString(decoded) {
		return decoded
	}
	return value
}

// decodeExtended returns the name in a filename* parameter, and whether it was encoded correctly.
// Of a name with mistakes it returns as much as it can decode.
func decodeExtended(value string) (name string, correct bool) {
	charset, rest, found := strings.Cut(value, "'")
	_, encoded, complete := strings.Cut(rest, "'") // between both is a language
	if !found || !complete {
		charset, encoded = "utf-8", value
	}
	encoded = strings.Trim(encoded, `"`)
	name, err := url.PathUnescape(encoded)
	correct = err == nil && found && complete
	if err != nil {
		name = unescape(encoded)
	}
	switch strings.ToLower(charset) {
	case "utf-8", "utf8", "us-ascii", "":
		return name, correct && utf8.ValidString(name)
	case "iso-8859-1", "latin1", "windows-1252":
		return latin1(name), correct
	}
	return name, false
}

// continued joins the parts of a name that is spread over several parameters: filename*0,
// filename*1 and so on. An asterisk at the end of their names means percent escapes, and the
// first part then names the character set.
func continued(params map[string]string) string {
	var b strings.Builder
	for n := 0; ; n++ {
		key := "filename*" + strconv.Itoa(n)
		part, plain := params[key]
		encoded, ok := params[key+"*"]
		switch {
		case plain:
			b.WriteString(part)
		case ok && n == 0:
			part, _ = decodeExtended(encoded)
			b.WriteString(part)
		case ok:
			b.WriteString(unescape(encoded))
		default:
			return b.String()
		}
	}
}

// unescape decodes the valid percent escapes of text, and leaves other percent signs as they are.
func unescape(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+2 < len(text) {
			if n, err := strconv.ParseUint(text[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

// decodeLatin1 decodes a name in ISO-8859-1, if it looks like one: each byte beyond ASCII is a
// letter, and no more than two of them stand together, next to an ASCII letter, as in
// "Größe.zip". Text in the character sets of East Asia, for example GBK, has longer runs and
// other bytes; it is returned as it is, because its encoding is unknown.
func decodeLatin1(name string) string {
	run, touched := 0, false // of the current run: its length, and whether it touches an ASCII letter
	for i := 0; i <= len(name); i++ {
		if i < len(name) && name[i] >= utf8.RuneSelf {
			if c := name[i]; c < 0xc0 || c == 0xd7 || c == 0xf7 { // no letters in ISO-8859-1
				return name
			}
			if run++; run == 1 {
				touched = i > 0 && isLetter(name[i-1])
			}
			continue
		}
		if run > 2 || run > 0 && !touched && (i == len(name) || !isLetter(name[i])) {
			return name
		}
		run = 0
	}
	return latin1(name)
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// latin1 returns the text with these bytes in ISO-8859-1.
func latin1(text string) string {
	runes := make([]rune, len(text))
	for i := range len(text) {
		runes[i] = rune(text[i])
	}
	return string(runes)
}
