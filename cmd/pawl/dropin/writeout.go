package dropin

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// An Outcome is the result of a run that has ended, for curl's --write-out.
type Outcome struct {
	Status  int     // HTTP status; 0 if no response came
	Code    int     // exit code
	Bytes   int64   // size of the file
	Seconds float64 // duration of the run
}

// writeOutVariables are the variables of --write-out that pawl knows.
var writeOutVariables = map[string]func(r Run, o Outcome) string{
	"http_code":          func(_ Run, o Outcome) string { return fmt.Sprintf("%03d", o.Status) },
	"response_code":      func(_ Run, o Outcome) string { return fmt.Sprintf("%03d", o.Status) },
	"exitcode":           func(_ Run, o Outcome) string { return strconv.Itoa(o.Code) },
	"filename_effective": func(r Run, _ Outcome) string { return r.File },
	"size_download":      func(_ Run, o Outcome) string { return strconv.FormatInt(o.Bytes, 10) },
	"speed_download": func(_ Run, o Outcome) string {
		return strconv.FormatInt(int64(float64(o.Bytes)/max(o.Seconds, 1e-6)), 10)
	},
	"time_total": func(_ Run, o Outcome) string { return strconv.FormatFloat(o.Seconds, 'f', 6, 64) },
	"url":        func(r Run, _ Outcome) string { return r.Args[len(r.Args)-1] },
}

// Report returns the text of --write-out after the run, "" without that option.
func (r Run) Report(o Outcome) string {
	text, _ := expandWriteOut(r.WriteOut, func(name string) (string, bool) {
		value, known := writeOutVariables[name]
		if !known {
			return "", false
		}
		return value(r, o), true
	})
	return text
}

// checkWriteOut returns an error if the format has a variable that pawl does not know.
func checkWriteOut(format string) error {
	_, err := expandWriteOut(format, func(name string) (string, bool) {
		_, known := writeOutVariables[name]
		return "", known
	})
	return err
}

// expandWriteOut replaces %{name}, %% and the escapes \n, \r and \t.
func expandWriteOut(format string, variable func(name string) (string, bool)) (string, error) {
	var b strings.Builder
	for format != "" {
		c := format[0]
		switch end := strings.IndexByte(format, '}'); {
		case strings.HasPrefix(format, "%{") && end > 0:
			value, known := variable(format[2:end])
			if !known {
				return "", errors.New("is refused: pawl does not know one of its variables")
			}
			b.WriteString(value)
			format = format[end+1:]
			continue
		case strings.HasPrefix(format, "%%"):
			format = format[1:]
		case c == '\\' && len(format) > 1 && strings.IndexByte("nrt", format[1]) >= 0:
			c = "\n\r\t"[strings.IndexByte("nrt", format[1])]
			format = format[1:]
		}
		b.WriteByte(c)
		format = format[1:]
	}
	return b.String(), nil
}
