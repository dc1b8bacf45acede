package main

import (
	"fmt"
	"strings"
)

// A kind is the task of a workload. It selects the command lines to compare.
type kind string

const (
	oneFile       kind = "one file"    // download one file
	limitedServer kind = "limited"     // download one file from a server that refuses further connections
	manyFiles     kind = "many files"  // download a list of small files
	manyLarge     kind = "at once"     // download a list of large files, all at the same time
	killedHalfway kind = "killed"      // start a download, kill it halfway, and measure the second run
	twoMirrors    kind = "two mirrors" // download one file from two servers
)

// A command is a way to do the task of one kind. Its line is split at white space,
// except within single quotes, and {names} are replaced by the values of job.values.
// For example, "curl -o {out} {url}" becomes three arguments after the program.
type command struct {
	tool         string // name of the program; "pawl" stands for every pawl that is measured
	label        string // distinguishes the commands of one tool, for example "-x16"
	maxConns     int    // number of connections that it opens at most
	line         string // command line; "" if the tool cannot do the task, see unsupported
	requiredHelp string // text that "get --help" must contain for the command to run; "" for none
	warmUp       bool   // first download another file from the server, untimed
	hopeless     bool   // known to be far too slow for every workload, so --few skips it
}

func (c command) String() string { return strings.TrimSpace(c.tool + " " + c.label) }

// Beginnings of the command lines. They ignore the user's configuration, switch off the
// progress display, and keep all state in the directory of the attempt.
const (
	pawlGet  = "pawl get --no-config -q --state {state} {trust} -o {out} {url} "
	pawlMany = "pawl mirror --no-config -q --state {state} {trust} -d {dir} {list} "
	aria2    = "aria2c --no-conf --no-netrc -q --file-allocation=none -k1M {trust} -d {dir} "
	curl     = "curl -q -sS -f {trust} "
	wget     = "wget --no-config -q --no-hsts {trust} "
	wget2    = "wget2 --no-config -q --no-hsts --no-hpkp --no-ocsp --no-robots {trust} "
	axel     = "axel -q -N -o {out} {url} "
	lftp     = "lftp --norc -c 'set net:max-retries 5; {trust} "
	rclone   = "rclone --config= -q {trust} "
)

// commands is the table of compared command lines. It must include the best options of
// each tool, because the comparison is with the best peer. "waiting" means that curl
// without --parallel-immediate waits until it knows whether an open connection
// multiplexes. The tool "bare" is bench's own client; its time is the measured limit
// of loopback.
var commands = map[kind][]command{
	oneFile: {
		{tool: "pawl", maxConns: 16, line: pawlGet},
		{tool: "pawl", label: "-x 32", maxConns: 32, line: pawlGet + "-x 32"},
		{tool: "aria2c", label: "-x1", maxConns: 1, line: aria2 + "-o {name} -x1 -s1 {url}"},
		{tool: "aria2c", label: "-x4", maxConns: 4, line: aria2 + "-o {name} -x4 -s4 {url}"},
		{tool: "aria2c", label: "-x16", maxConns: 16, line: aria2 + "-o {name} -x16 -s16 {url}"},
		{tool: "curl", maxConns: 1, line: curl + "-o {out} {url}"},
		{tool: "wget", maxConns: 1, line: wget + "-O {out} {url}"},
		{tool: "wget2", maxConns: 1, line: wget2 + "-O {out} {url}"},
		{tool: "wget2", label: "16 chunks", maxConns: 16, line: wget2 + "--chunk-size={sixteenth} --max-threads=16 -O {out} {url}", hopeless: true},
		{tool: "axel", label: "-n4", maxConns: 4, line: axel + "-n 4"},
		{tool: "axel", label: "-n16", maxConns: 16, line: axel + "-n 16"},
		{tool: "axel", label: "-n32", maxConns: 32, line: axel + "-n 32"},
		{tool: "lftp", label: "get", maxConns: 1, line: lftp + "get {url} -o {out}'"},
		{tool: "lftp", label: "pget -n4", maxConns: 4, line: lftp + "pget -n 4 {url} -o {out}'"},
		{tool: "lftp", label: "pget -n16", maxConns: 16, line: lftp + "pget -n 16 {url} -o {out}'"},
		{tool: "rclone", label: "copyurl", maxConns: 1, line: rclone + "copyurl {url} {out}"},
		{tool: "rclone", label: "4 streams", maxConns: 4, line: rclone + "copyto --multi-thread-cutoff 1M --multi-thread-streams 4 --http-url {base} :http:{name} {out}"},
		{tool: "rclone", label: "16 streams", maxConns: 16, line: rclone + "copyto --multi-thread-cutoff 1M --multi-thread-streams 16 --http-url {base} :http:{name} {out}"},
		{tool: "bare", label: "1", maxConns: 1, line: "bare --bare 1 {cafile} {url} {out}"},
		{tool: "bare", label: "4", maxConns: 4, line: "bare --bare 4 {cafile} {url} {out}"},
	},
	limitedServer: {
		{tool: "pawl", maxConns: 16, line: pawlGet},
		{tool: "pawl", label: "2nd run", maxConns: 16, line: pawlGet, warmUp: true},
		{tool: "pawl", label: "-x 3", maxConns: 3, line: pawlGet + "-x 3"},
		{tool: "aria2c", label: "-x3", maxConns: 3, line: aria2 + "-o {name} -x3 -s3 {url}"},
		{tool: "aria2c", label: "-x16", maxConns: 16, line: aria2 + "-o {name} -x16 -s16 {url}"},
		{tool: "curl", maxConns: 1, line: curl + "-o {out} {url}"},
		{tool: "wget2", label: "3 chunks", maxConns: 3, line: wget2 + "--chunk-size={third} --max-threads=3 -O {out} {url}", hopeless: true},
		{tool: "axel", label: "-n3", maxConns: 3, line: axel + "-n 3"},
		{tool: "axel", label: "-n16", maxConns: 16, line: axel + "-n 16"},
		{tool: "lftp", label: "pget -n3", maxConns: 3, line: lftp + "pget -n 3 {url} -o {out}'"},
		{tool: "rclone", label: "4 streams", maxConns: 4, line: rclone + "copyto --multi-thread-cutoff 1M --multi-thread-streams 4 --http-url {base} :http:{name} {out}"},
	},
	manyFiles: {
		{tool: "pawl", maxConns: 16, line: pawlMany},
		{tool: "pawl", label: "-x 100", maxConns: 100, line: pawlMany + "-x 100"},
		{tool: "aria2c", label: "-j16", maxConns: 16, line: aria2 + "-j16 -x16 -i {list}"},
		{tool: "curl", label: "parallel 16", maxConns: 16, line: curl + "--parallel --parallel-immediate --parallel-max 16 -K {curllist}", hopeless: true},
		{tool: "curl", label: "parallel 50", maxConns: 50, line: curl + "--parallel --parallel-immediate --parallel-max 50 -K {curllist}"},
		{tool: "curl", label: "parallel 100, waiting", maxConns: 100, line: curl + "--parallel --parallel-max 100 -K {curllist}"},
		{tool: "wget", maxConns: 1, line: wget + "-P {dir} -i {list}"},
		{tool: "wget2", label: "16 threads", maxConns: 16, line: wget2 + "--max-threads=16 -P {dir} -i {list}", hopeless: true},
		{tool: "wget2", label: "50 threads", maxConns: 50, line: wget2 + "--max-threads=50 -P {dir} -i {list}"},
		{tool: "lftp", label: "mirror 16", maxConns: 16, line: lftp + "mirror --parallel=16 {base}/ {dir}'"},
		{tool: "rclone", label: "32 transfers", maxConns: 32, line: rclone + "copy --http-url {base} --transfers 32 --checkers 32 :http: {dir}"},
		{tool: "axel"}, // unsupported
	},
	manyLarge: {
		{tool: "pawl", label: "-j 32", maxConns: 16, line: pawlMany + "-j 32"},
		{tool: "aria2c", label: "-j32", maxConns: 32, line: aria2 + "-j32 -x1 -i {list}"},
		{tool: "curl", label: "parallel 32", maxConns: 32, line: curl + "--parallel --parallel-immediate --parallel-max 32 -K {curllist}"},
		{tool: "wget2", label: "32 threads", maxConns: 32, line: wget2 + "--max-threads=32 -P {dir} -i {list}"},
		{tool: "lftp", label: "mirror 32", maxConns: 32, line: lftp + "mirror --parallel=32 {base}/ {dir}'"},
		{tool: "rclone", label: "32 transfers", maxConns: 32, line: rclone + "copy --http-url {base} --transfers 32 --checkers 32 :http: {dir}"},
		{tool: "axel"},
	},
	killedHalfway: {
		{tool: "pawl", maxConns: 16, line: pawlGet},
		{tool: "aria2c", label: "-c -x16", maxConns: 16, line: aria2 + "-c -o {name} -x16 -s16 {url}"},
		{tool: "curl", label: "-C -", maxConns: 1, line: curl + "-C - -o {out} {url}"},
		{tool: "wget", label: "-c", maxConns: 1, line: wget + "-c -O {out} {url}"},
		{tool: "wget2", label: "-c", maxConns: 1, line: wget2 + "-c -O {out} {url}"},
		{tool: "axel", label: "-n16", maxConns: 16, line: axel + "-n 16"},
		{tool: "lftp", label: "pget -c -n16", maxConns: 16, line: lftp + "pget -c -n 16 {url} -o {out}'"},
		{tool: "rclone"},
	},
	twoMirrors: {
		{tool: "pawl", label: "--mirror", maxConns: 16, line: pawlGet + "--mirror {url2}", requiredHelp: "--mirror="},
		{tool: "aria2c", label: "-x16, both", maxConns: 16, line: aria2 + "-o {name} -x16 -s16 {url} {url2}"},
		{tool: "axel", label: "-n16, both", maxConns: 16, line: axel + "{url2} -n 16"},
		{tool: "curl", label: "fast mirror only", maxConns: 1, line: curl + "-o {out} {url}"},
	},
}

// unsupported is the reason, per kind, why a tool has a command without a line. The
// table shows it, so that a missing tool is not mistaken for a forgotten one.
var unsupported = map[kind]string{
	manyFiles:     "cannot read a list",
	manyLarge:     "cannot read a list",
	killedHalfway: "does not resume",
}

// trustFlags are the flags that make each tool trust the certificate file {ca}. axel
// has none: like all programs that use OpenSSL's defaults it reads SSL_CERT_FILE,
// which childEnv sets.
var trustFlags = map[string]string{
	"pawl":   "--cacert {ca}",
	"aria2c": "--ca-certificate={ca}",
	"curl":   "--cacert {ca}",
	"wget":   "--ca-certificate={ca}",
	"wget2":  "--ca-certificate={ca}",
	"lftp":   "set ssl:ca-file {ca};",
	"rclone": "--ca-cert {ca}",
}

// A job is the values that fill in the command line of one attempt. Its directories
// must be absolute and must be empty before the attempt.
type job struct {
	baseURL   string // URL of the server, without a slash at the end
	mirrorURL string // URL of the second server; "" unless the kind is twoMirrors
	name      string // name of the file, both on the server and in dir
	size      int64  // size of the file in bytes
	dir       string // directory for the downloaded files
	stateDir  string // directory for the program's state and the lists of URLs
	caFile    string // PEM file of the certificate to trust; "" for HTTP
}

// values returns the replacer for the {names} in the command lines of a tool.
func (j job) values(tool string) *strings.Replacer {
	trust, cafile := "", "none"
	if j.caFile != "" {
		trust, cafile = strings.ReplaceAll(trustFlags[tool], "{ca}", j.caFile), j.caFile
	}
	return strings.NewReplacer(
		"{base}", j.baseURL,
		"{url}", j.baseURL+"/"+j.name,
		"{url2}", j.mirrorURL+"/"+j.name,
		"{name}", j.name,
		"{dir}", j.dir,
		"{out}", j.dir+"/"+j.name,
		"{state}", j.stateDir+"/state",
		"{list}", j.stateDir+"/list",
		"{curllist}", j.stateDir+"/curllist",
		"{trust}", trust,
		"{cafile}", cafile,
		"{third}", fmt.Sprint(j.size/3+1),
		"{sixteenth}", fmt.Sprint(j.size/16+1),
	)
}

// argv returns the arguments of the command line, the program first. A value with white
// space stays one argument. {trust} is the exception: it becomes as many arguments as
// it has words, or none.
func (c command) argv(j job) []string {
	values := j.values(c.tool)
	var words []string
	for i, part := range strings.Split(c.line, "'") {
		if i%2 == 1 { // within quotes
			words = append(words, strings.Join(strings.Fields(values.Replace(part)), " "))
			continue
		}
		for _, word := range strings.Fields(part) {
			if word == "{trust}" {
				words = append(words, strings.Fields(values.Replace(word))...)
			} else {
				words = append(words, values.Replace(word))
			}
		}
	}
	return words
}
