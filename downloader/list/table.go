package list

import (
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// A tableReader parses rows of fields that are separated by commas, semicolons or tabs. The
// first row may have the names of the columns. Without it, a row has a URL and a path, and
// perhaps a digest and a size, in any order:
//
//	https://h/get?id=1,iso/x.iso
//
// A field may have several values, separated by semicolons, as in the reports of ENA (European
// Nucleotide Archive): each is a file of its own, and the digests are in the same order.
type tableReader struct {
	c         *collector
	started   bool
	separator string      // of the fields; "" if there is only one column
	columns   columns     // nil without a header
	held      []tableLine // the lines of a row whose quoted field has not ended
}

// A tableLine is a line of a row that extends over lines.
type tableLine struct {
	text string
	n    int // its number
}

// maxRowLines is how many lines a quoted field may extend over. It is a guess: descriptions have a few, and
// after a quotation mark that is a fault, not more lines must be held.
const maxRowLines = 100

func (r *tableReader) parseLine(text []byte, n int) {
	line := string(text)
	if !r.started {
		r.started = true
		for _, r.separator = range separators {
			if r.columns = parseHeader(line, r.separator); r.columns != nil {
				r.dropUnclear(n)
				return
			}
		}
		r.separator = separatorOf(line)
	}
	r.held = append(r.held, tableLine{line, n})
	r.parseRows(false)
}

// parseRows parses the held lines, except for the lines of a row that may go on in the next line. After
// the last line, and after too many, a row without its closing quotation mark is a problem of its first
// line only.
func (r *tableReader) parseRows(last bool) {
	for len(r.held) > 0 && !r.c.stopped {
		row, n, lines := "", r.held[0].n, 0
		for lines < len(r.held) && (lines == 0 || r.isOpen(row)) && len(row) < maxLine {
			if lines++; lines > 1 {
				row += "\n"
			}
			row += r.held[lines-1].text
		}
		if r.isOpen(row) && !last && lines < maxRowLines && len(row) < maxLine {
			return
		}
		if err := r.parseRow(row, n); err != nil {
			r.c.problem(n, err)
			lines = 1
		}
		r.held = r.held[lines:]
	}
}

// isOpen reports whether a quoted field goes on behind the text.
func (r *tableReader) isOpen(text string) bool {
	return r.separator != "" && strings.Count(text, `"`)%2 == 1 && (text[0] == '"' || strings.Contains(text, r.separator+`"`))
}

// parseRow yields the entries of a row that begins on line n.
func (r *tableReader) parseRow(row string, n int) error {
	fields, err := splitRow(row, r.separator)
	if err != nil {
		return err
	}
	var files []Entry
	if r.columns != nil {
		files, err = r.filesOf(fields, n)
	} else {
		files, err = r.fileOf(fields, n)
	}
	for _, e := range files {
		if err == nil {
			r.c.addExpanded(e)
		}
	}
	return err
}

// dropUnclear drops the columns that look like digests of something unknown. It warns of them if there are
// no other digests.
func (r *tableReader) dropUnclear(n int) {
	verified := slices.ContainsFunc(r.columns, func(c column) bool { return c.role == sumColumn })
	r.columns = slices.DeleteFunc(r.columns, func(c column) bool {
		if c.role == unclearColumn && !verified {
			r.c.warn(n, fmt.Errorf("column %q looks like a digest and is not understood; the files are not verified by it", truncate(c.name)))
		}
		return c.role == unclearColumn
	})
}

func (r *tableReader) skipLongLine([]byte) {}

func (r *tableReader) end() error {
	r.parseRows(true)
	return nil
}

// separators are the separators of fields. The last is for a table of one column.
var separators = []string{"\t", ",", ";", ""}

// separatorOf returns the separator of a row without a header.
func separatorOf(line string) string {
	for _, s := range separators {
		if fields, err := splitRow(line, s); err == nil && len(fields) > 1 && slices.ContainsFunc(fields, isURL) {
			return s
		}
	}
	return ","
}

// splitRow returns the fields of a row without blanks around them. Fields may be quoted (RFC
// 4180).
func splitRow(line, separator string) (fields []string, err error) {
	switch {
	case separator == "":
		fields = []string{strings.Trim(line, blanks+`"`)}
	case !strings.Contains(line, `"`):
		fields = strings.Split(line, separator)
	default:
		row := csv.NewReader(strings.NewReader(line))
		row.Comma, row.TrimLeadingSpace = rune(separator[0]), separator != "\t"
		if fields, err = row.Read(); err != nil {
			return nil, errors.New("quotes of a field do not match")
		}
	}
	for i := range fields {
		fields[i] = strings.Trim(fields[i], blanks)
	}
	return fields, nil
}

// isQuotedURL reports whether a line is a row that begins with a quoted URL.
func isQuotedURL(line string) bool { return line[0] == '"' && isURL(line[1:]) }

// isRow reports whether a line may be a row of a table without a header that is separated
// by commas: a URL and a path. named reports whether there is a path. A URL may contain
// commas and patterns, so some lines can be both.
func isRow(line string) (ok, named bool) {
	if !strings.Contains(line, ",") || !strings.Contains(line, "://") || strings.ContainsAny(line, "{}[]") {
		return false, false
	}
	fields, err := splitRow(line, ",")
	if err != nil || len(fields) > 4 {
		return false, false
	}
	var urls, others []string
	for _, f := range fields {
		_, pathErr := localPath(f)
		switch {
		case isURL(f):
			urls = append(urls, f)
		case f == "":
		case pathErr != nil, strings.ContainsAny(f, "?&=;"):
			return false, false
		default:
			others = append(others, f)
		}
	}
	if len(urls) != 1 || len(others) == 1 && isOneURL(urls[0], others[0]) {
		return false, false
	}
	return true, len(others) > 0
}

// isOneURL reports whether the comma between u and rest is most likely part of a URL, such as
// "https://h/x,y" or "https://h/tile-12,34.png": u does not look complete, and rest does not
// look like a file of its own.
func isOneURL(u, rest string) bool {
	if strings.Contains(u, "?") || fileExtension.MatchString(u) || strings.Contains(rest, "/") {
		return false
	}
	isDigit := func(b byte) bool { return '0' <= b && b <= '9' }
	return !fileExtension.MatchString(rest) || isDigit(u[len(u)-1]) && isDigit(rest[0])
}

// fileOf returns the entry of a row without a header.
func (r *tableReader) fileOf(fields []string, n int) ([]Entry, error) {
	e := Entry{Size: -1, Line: n}
	for i, f := range fields {
		sum, err := parseSumValue(f)
		size, sizeErr := parseSize(f)
		switch {
		case f == "":
		case isURL(f), i == 0 && len(fields) == 1:
			e.URLs = append(e.URLs, f)
		case sizeErr == nil && len(fields) > 2:
			e.Size = size
		case len(f) >= 16 && err != errNotDigest:
			if err := r.c.addSum(&e, sum, err); err != nil {
				return nil, err
			}
		case e.Out != "":
			return nil, fmt.Errorf("row has two paths, %q and %q", truncate(e.Out), truncate(f))
		default:
			if e.Out, err = localPath(f); err != nil {
				return nil, err
			}
		}
	}
	if len(e.URLs) == 0 {
		return nil, errors.New("row has no URL")
	}
	return []Entry{e}, nil
}

// filesOf returns the entries of a row below a header.
func (r *tableReader) filesOf(fields []string, n int) (files []Entry, err error) {
	field := func(c column) string {
		if c.index < len(fields) {
			return fields[c.index]
		}
		return ""
	}
	alternatives := false // there are columns for the same data, which may all be empty
	alternative := ""     // the subject of the columns that have a URL in this row
	for _, c := range r.columns {
		alternatives = alternatives || c.alternative
		if c.role != urlColumn || field(c) == "" {
			continue
		}
		if c.alternative && alternative != "" && alternative != c.subject {
			r.c.warnOnce(n, fmt.Errorf("column %q ignored: the files of column %q are used", c.name, alternative))
			continue
		}
		if c.alternative {
			alternative = c.subject
		}
		urls := r.urlsOf(field(c), n)
		of := make([]Entry, len(urls))
		for i, u := range urls {
			of[i] = Entry{URLs: []string{u}, Size: -1, Line: n}
		}
		if c.subject != "" {
			if err := r.describe(of, c.subject, field); err != nil {
				return nil, err
			}
		}
		files = append(files, of...)
	}
	switch {
	case len(files) == 0 && alternatives: // ENA has no files of some runs
		r.c.warnOnce(n, errors.New("row has no URL; such rows are skipped"))
		return nil, nil
	case len(files) == 0:
		return nil, errors.New("row has no URL")
	}
	return files, r.describe(files, "", field)
}

// hostAndPath matches a URL without its scheme, as in the reports of ENA.
var hostAndPath = regexp.MustCompile(`^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+(:[0-9]+)?/.`)

// urlsOf returns the URLs of a field. Semicolons separate them if there is a URL after each.
// URLs without a scheme are of servers that have FTP and HTTP.
func (r *tableReader) urlsOf(field string, n int) []string {
	urls := valuesOf(field)
	if slices.ContainsFunc(urls, func(u string) bool { return !isURL(u) && !hostAndPath.MatchString(u) }) {
		urls = []string{field}
	}
	for i, u := range urls {
		if r.c.base == nil && !isURL(u) && hostAndPath.MatchString(u) {
			r.c.warnOnce(n, errors.New("URL has no scheme; https is used"))
			urls[i] = "https://" + u
		}
	}
	return urls
}

// valuesOf returns the values of a field, without empty ones.
func valuesOf(field string) (values []string) {
	for v := range strings.SplitSeq(field, ";") {
		if v = strings.Trim(v, blanks); v != "" {
			values = append(values, v)
		}
	}
	return values
}

// describe adds the paths, sizes and digests of the columns about a subject to files. If a
// column has a value for one file, it must have one for each.
func (r *tableReader) describe(files []Entry, subject string, field func(column) string) error {
	values := make(map[column][]string) // by the column without its place: digests may be in several columns
	var order []column
	for _, c := range r.columns {
		if c.role == urlColumn || c.subject != subject || field(c) == "" {
			continue
		}
		key := column{role: c.role, algorithm: c.algorithm, rank: c.rank}
		if values[key] == nil {
			order = append(order, key)
		}
		values[key] = append(values[key], valuesOf(field(c))...)
	}
	slices.SortStableFunc(order, func(a, b column) int { return cmp.Compare(a.rank, b.rank) })
	for _, key := range order {
		if len(values[key]) != len(files) && key.role == pathColumn {
			continue // such as the name of a sample with several files
		}
		if len(values[key]) != len(files) {
			return fmt.Errorf("row has %d files, but %d digests or sizes", len(files), len(values[key]))
		}
		for i, v := range values[key] {
			if err := r.setValue(&files[i], key, v); err != nil {
				return err
			}
		}
	}
	return nil
}

// setValue sets the path, size or digest of a file.
func (r *tableReader) setValue(e *Entry, c column, value string) (err error) {
	switch c.role {
	case pathColumn:
		if e.Out == "" { // not set by a column with a lower rank
			e.Out, err = localPath(value)
		}
	case sizeColumn:
		e.Size, err = parseSize(value)
	case sumColumn:
		sum, err := parseSumValue(value)
		if c.algorithm != "" && !strings.Contains(value, ":") {
			sum, err = parseNamedSum(c.algorithm, value)
		}
		if err == errNotDigest {
			err = unknownKindError(value)
		}
		return r.c.addSum(e, sum, err)
	}
	return err
}

// A columnRole is the meaning of the fields of a column.
type columnRole int

const (
	otherColumn columnRole = iota
	urlColumn
	pathColumn
	sizeColumn
	sumColumn
	unclearColumn // may have digests, but of something unknown
)

// A column is a column of a table, as its name describes it.
type column struct {
	index       int
	name        string
	role        columnRole
	subject     string // "fastq" for fastq_ftp and fastq_md5, "" if the name has no such part
	algorithm   string // of digests; "" if the values say it
	rank        int    // of several columns with a path, the one with the lowest counts
	alternative bool   // a URL of the same data as the columns of other subjects
}

// columns are the columns of a table that say something about files.
type columns []column

// The names of columns, in lower case and with "_" between the words. Columns with a suffix
// are about a part of the data of the row.
var (
	urlNames  = setOf(`url urls uri link href download download_url download_link download_path downloadurl file_url source_url http_url https_url fastq`)
	pathNames = strings.Fields(`path out output local_path destination dest save_as file_path filepath filename file_name file name`)
	sizeNames = setOf(`size bytes filesize file_size length content_length`)
	sumNames  = setOf(`checksum hash digest`)
	// urlSuffixes are the suffixes of columns with URLs. The value is true for suffixes of ENA, where
	// a row has the same data as fastq_ftp, submitted_ftp and sra_ftp.
	urlSuffixes = map[string]bool{"url": false, "uri": false, "link": false, "https": true, "http": true, "ftp": true}
	// pageSubjects are the subjects of URLs that are for people.
	pageSubjects = setOf(`homepage home web page project license info`)

	columnBlank  = regexp.MustCompile(`[^a-z0-9]+`)
	columnNumber = regexp.MustCompile(`_?[0-9]+$`)
)

// parseHeader returns the columns of a header, nil if the line is none.
func parseHeader(line, separator string) columns {
	fields, err := splitRow(line, separator)
	if err != nil || separator != "" && len(fields) < 2 || slices.ContainsFunc(fields, isURL) {
		return nil
	}
	var all columns
	hasURL, exact, known := false, "", 0
	for i, f := range fields {
		c := columnOf(f)
		if c.index = i; c.role == otherColumn {
			continue
		}
		if c.role == urlColumn && c.subject == "" {
			exact = cmp.Or(exact, c.name)
		}
		hasURL = hasURL || c.role == urlColumn
		if all = append(all, c); c.role != unclearColumn {
			known++
		}
	}
	all.resolveSubjects()
	if exact != "" { // one of these has the files; others are for other uses
		return slices.DeleteFunc(all, func(c column) bool { return c.role == urlColumn && c.name != exact })
	}
	if !hasURL || separator != "\t" && known < 2 {
		return nil
	}
	// FASTQ files come first, because people use them most.
	slices.SortStableFunc(all, func(a, b column) int {
		return -cmp.Compare(btoi(a.subject == "fastq"), btoi(b.subject == "fastq"))
	})
	return all
}

// resolveSubjects finds the subjects of columns with digests if there is no URL with the same subject:
// either all files of the row, as for hash_md5 and checksum_sha256, or something unknown.
func (all columns) resolveSubjects() {
	for i, c := range all {
		if c.role != sumColumn || c.subject == "" || slices.ContainsFunc(all, func(u column) bool { return u.role == urlColumn && u.subject == c.subject }) {
			continue
		}
		if _, what := digestNameOf(c.name); what == digestOf {
			all[i].subject = ""
		} else {
			all[i].role = unclearColumn
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// isTableHeader reports whether a line is the header of a table of files.
func isTableHeader(line string) bool {
	return slices.ContainsFunc(separators, func(s string) bool { return parseHeader(line, s) != nil })
}

// columnOf returns the meaning of a column. Its index is not set.
func columnOf(title string) column {
	name := strings.Trim(columnBlank.ReplaceAllString(strings.ToLower(title), "_"), "_")
	c := describeColumn(name)
	if short := columnNumber.ReplaceAllString(name, ""); (c.role == otherColumn || c.role == unclearColumn) && short != name { // url_1, url_2
		name = short
		c = describeColumn(short)
	}
	c.name = name
	return c
}

// describeColumn returns the meaning of a column without its name.
func describeColumn(name string) column {
	subject, last := "", name
	if at := strings.LastIndexByte(name, '_'); at > 0 {
		subject, last = name[:at], name[at+1:]
	}
	whole, isWholeKind := kindOf(name)
	k, isKind := kindOf(last)
	alternative, isURL := urlSuffixes[last]
	algorithm, what := digestNameOf(name)
	rank := slices.Index(pathNames, name)
	switch {
	case urlNames[name]:
		return column{role: urlColumn}
	case rank >= 0:
		return column{role: pathColumn, rank: rank}
	case sizeNames[name]:
		return column{role: sizeColumn}
	case sumNames[name]:
		return column{role: sumColumn}
	case isWholeKind:
		return column{role: sumColumn, algorithm: whole.name}
	case isURL && subject != "" && !pageSubjects[subject]:
		return column{role: urlColumn, subject: subject, alternative: alternative}
	case isKind:
		return column{role: sumColumn, subject: subject, algorithm: k.name}
	case subject != "" && sumNames[last]:
		return column{role: sumColumn, subject: subject, algorithm: algorithm}
	case what == digestOf:
		return column{role: sumColumn, algorithm: algorithm}
	case what == digestLike:
		return column{role: unclearColumn}
	case subject != "" && (last == "bytes" || last == "size"):
		return column{role: sizeColumn, subject: subject}
	}
	return column{}
}
