package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// TestSlurmJob runs the job file as the tasks of an array, with programs in place of those of Slurm,
// and then merges the reports.
func TestSlurmJob(t *testing.T) {
	sampled(t, 8)
	t.Parallel()
	bash, err := exec.LookPath("bash")
	if err != nil || runtime.GOOS == "windows" {
		t.Skip("there is no bash")
	}
	s := newSite(t)
	s.addMany(12, sameSize(10))
	s.writeListOfAll("files.txt")
	script := readFile(t, "jobs/mirror.slurm")
	array := regexp.MustCompile(`(?m)^#SBATCH --array=(\d+)-(\d+)$`).FindStringSubmatch(script)
	if array == nil {
		t.Fatal("the job file has no array")
	}
	script = strings.NewReplacer("=/scratch/mirror.d", "="+filepath.Join(s.dir, "work"), "=/scratch/mirror", "="+filepath.Join(s.dir, "out"), "=/scratch", "="+s.dir).Replace(script)
	bin := filepath.Join(s.dir, "bin")
	must(s.testRun, os.Mkdir(bin, 0o755))
	for name, text := range map[string]string{"srun": `exec "$@"`, "scontrol": `echo "scontrol $@"`} {
		must(s.testRun, os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755))
	}
	first, last := atoi(t, array[1]), atoi(t, array[2])
	run := func(task int, env ...string) (string, int) {
		cmd := exec.Command(bash, "-c", script)
		cmd.Dir, cmd.Env = s.dir, append(pawlCommand(s.dir).Env, "PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"), "SLURM_ARRAY_JOB_ID=99", fmt.Sprintf("%s=%d", slurmID, task),
			slurmMin+"="+array[1], slurmMax+"="+array[2], fmt.Sprintf("%s=%d", slurmCount, last-first+1), slurmStep+"=1")
		cmd.Env = append(cmd.Env, env...)
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
	for task := first; task <= last; task++ {
		if out, code := run(task); code != 0 || out != "" {
			t.Errorf("task %d: exit %d\n%s", task, code, out)
		}
	}
	s.wantFiles()
	reports, _ := filepath.Glob(filepath.Join(s.dir, "work", "report-*.json"))
	s.runPawl(append([]string{"report", "merge", "-o", "merged"}, reports...)...).wantExit(0).wantStderr("all 12 files are here")
	// A task ends in time, and is submitted again.
	const again = "scontrol requeue 99_3\n"
	if out, code := run(3, "PAWL_DEADLINE=1ns"); code != 75 || !strings.Contains(out, again) {
		t.Errorf("a temporary failure: exit %d\n%s", code, out)
	}
	if out, code := run(3, "PAWL_DEADLINE=1ns", "SLURM_RESTART_COUNT=5"); code != 75 || strings.Contains(out, again) {
		t.Errorf("the fifth temporary failure: exit %d\n%s", code, out)
	}
}

// atoi is strconv.Atoi for digits.
func atoi(t *testing.T, digits string) int {
	t.Helper()
	n, err := strconv.Atoi(digits)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestKubernetesJob checks that the grammar accepts the arguments of the job file, that all numbers
// of shards in it are the same, and that only temporary failures are tried again.
func TestKubernetesJob(t *testing.T) {
	sampled(t, 8)
	text := readFile(t, "jobs/mirror-job.yaml")
	if strings.Contains(text, "\t") {
		t.Error("the job file has a tab, which YAML forbids")
	}
	value := func(pattern string) string {
		m := regexp.MustCompile(`(?m)^ *` + pattern + `$`).FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("the job file has no %s", pattern)
		}
		return m[1]
	}
	count := value(`completions: (\d+)`)
	if parallel, shards := value(`parallelism: (\d+)`), value(`- name: `+shardsVariable+"\n *"+`value: "(\d+)"`); parallel != count || shards != count {
		t.Errorf("%s completions, %s in parallel, and %s=%s", count, parallel, shardsVariable, shards)
	}
	value(`(completionMode: Indexed)`)
	value(`(restartPolicy: Never)`) // a podFailurePolicy demands it
	var codes []int
	for _, code := range strings.Split(value(`values: \[(.*)\]`), ", ") {
		codes = append(codes, atoi(t, code))
	}
	var want []int
	for code := range failureNames {
		if code != 75 {
			want = append(want, code)
		}
	}
	slices.Sort(want)
	if !slices.Equal(codes, want) {
		t.Errorf("the final exit codes are %v, want all failures but 75: %v", codes, want)
	}
	_, list, _ := strings.Cut(text, "args:\n")
	list, _, _ = strings.Cut(list, "env:\n")
	var args []string
	for _, m := range regexp.MustCompile(`(?m)^ +- (.*)$`).FindAllStringSubmatch(list, -1) {
		args = append(args, strings.ReplaceAll(m[1], "$("+kubernetesIndex+")", "7"))
	}
	n := atoi(t, count)
	if err := parsesAsShard(args, n); err != nil {
		t.Errorf("%q: %v", args, err)
	}
}

// parsesAsShard parses a command line of pawl mirror whose --shard auto has been replaced by each of
// n shards.
func parsesAsShard(args []string, n int) error {
	for i := range n {
		var cli CLI
		parser, err := kong.New(&cli, rawTextMappers(), kong.DefaultEnvars("PAWL"), kong.Vars{"version": ""}, kong.Bind(new(configLoader)))
		if err != nil {
			return err
		}
		these := slices.Clone(args)
		at := slices.Index(these, "--shard=auto")
		if at < 0 {
			return fmt.Errorf("there is no --shard=auto")
		}
		these[at] = fmt.Sprintf("--shard=%d/%d", i+1, n)
		parsed, err := parser.Parse(these)
		if err == nil && parsed.Selected().Name != "mirror" {
			err = fmt.Errorf("the command is %s", parsed.Selected().Name)
		}
		if err == nil && (cli.Mirror.Dir != "/data/mirror" || cli.Mirror.Report != "/data/mirror.d/report-7.json" || cli.State != "/data/mirror.d/state-7") {
			err = fmt.Errorf("the paths are %q, %q and %q", cli.Mirror.Dir, cli.Mirror.Report, cli.State)
		}
		if err == nil {
			err = cli.Mirror.divide()
		}
		if err != nil {
			return err
		}
	}
	return nil
}
