package main

// This file divides a mirror run among many machines.

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"

	"pawl/downloader/mirror"
)

// ShardOptions say which part of the lists a run does.
type ShardOptions struct {
	Shard   shard          `placeholder:"I/N" group:"Lists" help:"Only do the I-th of N parts of the lists, such as 3/16; other machines do the others. auto takes the part from a Slurm array or from a Kubernetes Indexed Job with PAWL_SHARDS=N. -x and --max-request-rate are for all parts together; see pawl help formats."`
	ShardBy mirror.ShardBy `default:"path" placeholder:"path|host" group:"Lists" help:"What decides the part of a file: its path, the default, or the host of its first URL. By host, each part may use all of -x and --max-request-rate."`
}

// A shard is the argument of --shard.
type shard struct{ mirror.Shard }

// UnmarshalText accepts "3/16" and "auto".
func (s *shard) UnmarshalText(text []byte) (err error) {
	if string(text) == "auto" {
		s.Shard, err = scheduledShard(os.Getenv)
		return err
	}
	s.Shard, err = mirror.ParseShard(string(text))
	return err
}

// Environment variables of --shard auto. Slurm sets its own in the tasks of an array
// (sbatch(1)), Kubernetes sets jobIndex in the pods of an Indexed Job, and the user sets
// shardsVariable there.
const (
	slurmID, slurmMin, slurmMax     = "SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX"
	slurmCount, slurmStep           = "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_STEP"
	kubernetesIndex, shardsVariable = "JOB_COMPLETION_INDEX", "PAWL_SHARDS"
)

// scheduledShard returns the shard of the task that a scheduler has started this process for.
func scheduledShard(getenv func(string) string) (mirror.Shard, error) {
	env := scheduler{getenv: getenv}
	slurm, kubernetes := getenv(slurmID) != "", getenv(kubernetesIndex) != ""
	switch {
	case slurm && kubernetes:
		return mirror.Shard{}, fmt.Errorf("auto: %s and %s are both set, so the shard is not known; name it, such as 3/16", slurmID, kubernetesIndex)
	case slurm:
		return env.slurm()
	case kubernetes:
		index, count := env.number(kubernetesIndex), env.number(shardsVariable)
		return env.shard(index+1, count)
	}
	return mirror.Shard{}, fmt.Errorf("auto: this is no task of a Slurm array and no pod of a Kubernetes Indexed Job: neither %s nor %s is set", slurmID, kubernetesIndex)
}

// A scheduler reads environment variables.
type scheduler struct {
	getenv func(string) string
	err    error // of the first unusable variable
}

// number returns the value of a variable that must be set.
func (e *scheduler) number(name string) int {
	text := e.getenv(name)
	n, err := strconv.ParseInt(text, 10, 32)
	if err == nil && n >= 0 {
		return int(n)
	}
	if e.err == nil && text == "" {
		e.err = fmt.Errorf("auto: %s is not set", name)
	} else if e.err == nil {
		e.err = fmt.Errorf("auto: %s is %q, which is no number", name, text)
	}
	return 0
}

// numberOr returns the value of a variable that may be missing.
func (e *scheduler) numberOr(name string, missing int) int {
	if e.getenv(name) == "" {
		return missing
	}
	return e.number(name)
}

// shard returns a shard, or the error of an unusable variable.
func (e *scheduler) shard(index, count int) (mirror.Shard, error) {
	if e.err != nil {
		return mirror.Shard{}, e.err
	}
	s, err := mirror.NewShard(index, count)
	if err != nil {
		err = fmt.Errorf("auto: %w", err)
	}
	return s, err
}

// slurm returns the shard of a task of an array. The IDs of the tasks must be evenly spaced, as in
// --array=0-15 or --array=10-40:10, because a task does not know the other IDs.
func (e *scheduler) slurm() (mirror.Shard, error) {
	id, first, count := e.number(slurmID), e.number(slurmMin), e.number(slurmCount)
	step := max(1, e.numberOr(slurmStep, 1))
	last := e.numberOr(slurmMax, first+(count-1)*step)
	if e.err == nil && count > 0 && (id < first || id > last || (id-first)%step != 0 || first+(count-1)*step != last) {
		return mirror.Shard{}, fmt.Errorf("auto: the %d tasks of the array, from %d to %d, are not evenly spaced with a step of %d, so the shard of task %d is not known; use an array such as 1-%d", count, first, last, step, id, count)
	}
	return e.shard((id-first)/step+1, count)
}

// A shareError reports a limit that is smaller than the number of shards.
type shareError struct{ error }

// defaultConnections are those to a host that serves large files, as package downloader has them.
const defaultConnections connLimit = 16

// divide sets c.Shard.By, and replaces the limits of a host by the share of this shard.
func (c *MirrorCmd) divide() error {
	c.Shard.By = c.ShardBy
	if !c.Shard.IsSet() || c.ShardBy == mirror.ByHost {
		return nil
	}
	var err error
	share := func(option string, n int) int {
		part, shareErr := c.Shard.Share(n)
		if shareErr != nil && err == nil {
			err = usageErr{shareError{fmt.Errorf("%s %d is for all %d shards together: %w", option, n, c.Shard.Count, shareErr)}}
		}
		return part
	}
	c.Connections = connLimit(share("--connections", int(cmp.Or(c.Connections, defaultConnections))))
	shareRate := func(option string, rate requestRate) requestRate {
		if rate.requests > 0 {
			whole, fraction := math.Modf(rate.requests)
			rate.requests = float64(share(option, int(whole)))
			if c.Shard.Index == 1 {
				rate.requests += fraction
			}
		}
		return rate
	}
	c.MaxRequestRate = shareRate("--max-request-rate", c.MaxRequestRate)
	c.hosts.settings = slices.Clone(c.hosts.settings)
	for i := range c.hosts.settings {
		s := &c.hosts.settings[i]
		option := fmt.Sprintf("[host %s] %s", s.host, s.option)
		switch v := s.value.(type) {
		case connLimit:
			s.value = connLimit(share(option, int(v)))
		case requestRate:
			s.value = shareRate(option, v)
		}
	}
	return err
}

// reportsLists reports whether this run reports the problems of the lists, which are the same in
// all shards.
func (c *MirrorCmd) reportsLists() bool { return c.Shard.Index <= 1 }

// shardRun returns a key for all shards of the same lists, directory and number of shards, "" without
// shards. Its results must not change between versions, because shards may run with different ones.
func (c *MirrorCmd) shardRun() string {
	if !c.Shard.IsSet() {
		return ""
	}
	return c.hashKey("shards", strconv.Itoa(c.Shard.Count), c.ShardBy.String(), c.runKey())
}

// lockKey returns a key that no other run may have at the same time: runKey, with the shard if there is one,
// because different shards may run at the same time.
func (c *MirrorCmd) lockKey() string {
	if !c.Shard.IsSet() {
		return c.runKey()
	}
	return c.hashKey("shard", c.Shard.String(), c.shardRun())
}
