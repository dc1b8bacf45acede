package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"pawl/downloader/faultserver"
)

// This file is the hazards of TestHazards that need Linux, and root, to mount a
// file system, make a device, or give up root's power over modes.

// needs skips the hazard where err says that it cannot be made, unless that is asked for.
func (tr *trial) needs(err error) {
	tr.Helper()
	if err == nil {
		return
	}
	if os.Getenv("PAWL_TEST_SERVERS") == "required" {
		tr.Fatal(err)
	}
	tr.Skipf("not to be had here: %v", err)
}

// mount mounts an empty file system in memory at dir, which is made.
func (tr *trial) mount(dir, options string) {
	tr.Helper()
	must(tr, os.MkdirAll(dir, 0o700))
	tr.needs(syscall.Mount("pawl-test", dir, "tmpfs", 0, options))
	tr.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
}

// remount changes what mount mounted.
func (tr *trial) remount(dir string, flags uintptr, options string) {
	tr.Helper()
	must(tr, syscall.Mount("pawl-test", dir, "tmpfs", syscall.MS_REMOUNT|flags, options))
}

// onDisk makes the trial's directory, but not its state, a disk of its own.
func (tr *trial) onDisk(options string) {
	tr.Helper()
	tr.env = append(tr.env, "XDG_STATE_HOME="+filepath.Join(tr.dir, "state"))
	dir := filepath.Join(tr.dir, "disk")
	tr.mount(dir, options)
	must(tr, os.Symlink(filepath.Join(tr.dir, "state"), filepath.Join(dir, "state"))) // for statePath
	tr.dir = dir
}

// fill writes a file in dir until the disk is full, and returns its path.
func (tr *trial) fill(dir string) string {
	tr.Helper()
	path := filepath.Join(dir, "mine")
	f, err := os.Create(path)
	must(tr, err)
	defer f.Close()
	for _, n := range []int{1 << 20, 4 << 10} {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, n))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			tr.Fatal(err)
		}
	}
	return path
}

// powerless is the program in a user namespace in which it is an ordinary user
// and the owner of root's files.
func (tr *trial) powerless(args ...string) *exec.Cmd {
	tr.Helper()
	id := []syscall.SysProcIDMap{{ContainerID: 1000, HostID: os.Geteuid(), Size: 1}}
	group := []syscall.SysProcIDMap{{ContainerID: 1000, HostID: os.Getegid(), Size: 1}}
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: id, GidMappings: group,
		Credential: &syscall.Credential{Uid: 1000, Gid: 1000, NoSetGroups: true}}
	probe := exec.Command("true")
	probe.SysProcAttr = attr
	tr.needs(probe.Run())
	cmd := tr.command(args)
	cmd.SysProcAttr = attr
	return cmd
}

// full is what a run must do that found the disk full: tell it, and keep what
// has arrived.
func (o outcome) full() {
	o.tr.Helper()
	o.fails(9)
	o.clear()
	o.tells("pawl: hint: free some space")
	o.tr.kept()
}

// linuxDisks are hazards of TestHazards.
var linuxDisks = []hazard{
	{name: "disks: full, the length unknown", try: func(tr *trial) {
		tr.onDisk("size=12m")
		f := tr.serve(16 << 20)
		tr.srv.Set(faultserver.NoLength)
		tr.run().full()
		tr.remount(tr.dir, 0, "size=64m")
		tr.run().good("f.bin", f)
		tr.overhead(2.1)
	}},
	{name: "disks: full in mid-transfer", try: func(tr *trial) {
		tr.onDisk("size=32m")
		f := tr.serve(24 << 20)
		tr.srv.Set(faultserver.Rate(16 << 20))
		tr.at(6<<20, func(*running) { tr.fill(tr.dir) }).full()
		tr.srv.Set()
		must(tr, os.Remove(filepath.Join(tr.dir, "mine")))
		tr.run().good("f.bin", f)
		tr.overhead(1.25)
		tr.met()
	}},
	{name: "disks: full at the start", try: func(tr *trial) {
		tr.onDisk("size=8m")
		f := tr.serve(32 << 20)
		o := tr.run()
		o.fails(9)
		o.refuses(9)
		o.tells("pawl: hint: free some space")
		o.tells("not enough disk space") // no mere failed write
		if sent := tr.srv.Sent(); sent > 5<<20 {
			tr.Errorf("%d bytes were sent before it was told", sent)
		}
		tr.noPart()
		tr.remount(tr.dir, 0, "size=64m")
		tr.run().good("f.bin", f)
		tr.met()
	}},
	{name: "disks: full on resume", try: func(tr *trial) {
		tr.onDisk("size=32m")
		f := tr.serve(24 << 20)
		tr.killHolding(6 << 20)
		mine, sent := tr.fill(tr.dir), tr.srv.Sent()
		o := tr.run()
		o.full()
		o.tells("not enough disk space")
		if sent = tr.srv.Sent() - sent; sent > 5<<20 {
			tr.Errorf("%d bytes were sent before it was told", sent)
		}
		must(tr, os.Remove(mine))
		tr.run().good("f.bin", f)
		tr.overhead(1.5)
		tr.met()
	}},
	{name: "disks: no inodes left", try: func(tr *trial) {
		tr.onDisk("size=32m,nr_inodes=2") // the root and the link
		f := tr.serve(8 << 20)
		o := tr.run()
		o.fails(9)
		o.refuses(9)
		tr.remount(tr.dir, 0, "nr_inodes=100")
		tr.run().good("f.bin", f)
		tr.met()
	}},
	{name: "disks: no fallocate", try: func(tr *trial) {
		tr.onDisk("size=32m")
		f := tr.serve(16 << 20)
		tr.killHolding(4 << 20)
		tr.run().good("f.bin", f)
		tr.overhead(1.25)
		tr.met()
	}},
	{name: "disks: read-only file system", try: func(tr *trial) {
		tr.onDisk("size=32m")
		f := tr.serve(8 << 20)
		tr.remount(tr.dir, syscall.MS_RDONLY, "size=32m")
		o := tr.run()
		o.fails(3)
		o.refuses(3)
		tr.fewRequests(0)
		tr.remount(tr.dir, 0, "size=32m")
		tr.run().good("f.bin", f)
		tr.met()
	}},
	{name: "disks: read-only file system on resume", try: func(tr *trial) {
		tr.onDisk("size=32m")
		f := tr.serve(16 << 20)
		tr.killHolding(4 << 20)
		requests := len(tr.srv.Requests())
		tr.remount(tr.dir, syscall.MS_RDONLY, "size=32m")
		o := tr.run()
		o.fails(3)
		o.refuses(3)
		tr.fewRequests(requests)
		tr.kept()
		tr.remount(tr.dir, 0, "size=32m")
		tr.run().good("f.bin", f)
		tr.overhead(1.25)
		tr.met()
	}},
	{name: "disks: unmounted in mid-run", try: func(tr *trial) {
		tr.onDisk("size=32m")
		tr.serve(16 << 20)
		tr.srv.Set(faultserver.Rate(8 << 20))
		o := tr.at(4<<20, func(*running) { syscall.Unmount(tr.dir, syscall.MNT_DETACH) })
		o.fails(3)
		o.clear()
		tr.unsaid()
		tr.met()
	}},
	{name: "disks: no permission for the directory", try: func(tr *trial) {
		tr.serve(8 << 20)
		sub := filepath.Join(tr.dir, "sub")
		must(tr, os.Mkdir(sub, 0o555))
		o := tr.launch(tr.powerless("-d", "sub", tr.url())).wait()
		o.fails(3)
		o.refuses(3)
		o.tells("permission denied")
		tr.fewRequests(0)
		tr.met()
	}},
	{name: "disks: no permission for the part file", try: func(tr *trial) {
		f := tr.serve(8 << 20)
		tr.killHolding(3 << 20)
		requests := len(tr.srv.Requests())
		must(tr, os.Chmod(tr.partPath(), 0o400))
		o := tr.launch(tr.powerless(tr.url())).wait()
		o.fails(3)
		o.refuses(3)
		tr.fewRequests(requests)
		tr.kept()
		must(tr, os.Chmod(tr.partPath(), 0o600))
		tr.run().good("f.bin", f)
		tr.overhead(1.25)
		tr.met()
	}},
	obstacle("disks: target is a device", device()),
	obstacle("disks: target is a device, to be overwritten", device("--overwrite")),
	obstacle("disks: target is a device, to begin again", device("--restart")),
}

// device makes f.bin one like /dev/null.
func device(args ...string) func(tr *trial) ([]string, []string) {
	return func(tr *trial) ([]string, []string) {
		path := filepath.Join(tr.dir, "f.bin")
		tr.needs(syscall.Mknod(path, syscall.S_IFCHR|0o666, 1<<8|3))
		return []string{path}, append(args, "-o", path)
	}
}

// withState has the trial's state directory on a disk of its own.
func (tr *trial) withState(options string) (dir string) {
	tr.Helper()
	dir = filepath.Dir(tr.statePath())
	tr.mount(dir, options+",mode=700")
	return dir
}

// linuxStates are hazards of TestHazards.
var linuxStates = []hazard{
	{name: "states: full disk at the start", try: func(tr *trial) {
		dir := tr.withState("size=64k")
		f := tr.serve(8 << 20)
		mine := tr.fill(dir)
		o := tr.run()
		o.fails(9)
		o.refuses(9)
		must(tr, os.Remove(mine))
		tr.run().good("f.bin", f)
		tr.met()
	}},
	{name: "states: full disk on resume", try: func(tr *trial) {
		dir := tr.withState("size=128k")
		f := tr.serve(16 << 20)
		tr.killHolding(4 << 20)
		mine := tr.fill(dir)
		if o := tr.run(); o.code != 0 { // it may need no more room
			o.fails(9)
			o.clear()
			tr.kept()
		}
		must(tr, os.Remove(mine))
		tr.run().good("f.bin", f)
		tr.overhead(2.1)
		tr.unsaid()
		tr.met()
	}},
	{name: "states: disk too small for the state", try: func(tr *trial) {
		dir := tr.withState("size=4k")
		f := tr.serve(8 << 20)
		o := tr.run()
		o.fails(9)
		o.refuses(9)
		tr.remount(dir, 0, "size=1m")
		tr.run().good("f.bin", f)
		tr.met()
	}},
	{name: "states: full in mid-run", try: func(tr *trial) {
		dir := tr.withState("size=256k")
		f := tr.serve(16 << 20)
		tr.srv.Set(faultserver.Rate(16 << 20))
		if o := tr.at(4<<20, func(*running) { tr.fill(dir) }); o.code != 0 {
			o.fails(9)
			o.clear()
		}
		os.Remove(filepath.Join(dir, "mine"))
		tr.run().good("f.bin", f)
		tr.overhead(1.25)
		tr.unsaid()
		tr.met()
	}},
	{name: "states: read-only file system", try: func(tr *trial) {
		dir := tr.withState("size=1m")
		f := tr.serve(16 << 20)
		tr.killHolding(4 << 20)
		requests := len(tr.srv.Requests())
		tr.remount(dir, syscall.MS_RDONLY, "size=1m")
		o := tr.run()
		o.fails(3)
		o.refuses(3)
		tr.fewRequests(requests)
		tr.kept() // a list only reads
		tr.remount(dir, 0, "size=1m")
		tr.run().good("f.bin", f)
		tr.overhead(1.25)
		tr.met()
	}},
	{name: "states: read-only file", try: func(tr *trial) { unwritable(tr, tr.statePath(), 0o400, 0o600) }},
	{name: "states: unreadable file", try: func(tr *trial) { unwritable(tr, tr.statePath(), 0, 0o600) }},
	{name: "states: unreadable directory", try: func(tr *trial) { unwritable(tr, filepath.Dir(tr.statePath()), 0, 0o700) }},
}

// unwritable takes the permission for the state between a kill and the next run,
// which must refuse at once, and gives it back.
func unwritable(tr *trial, path string, mode, normal os.FileMode) {
	tr.Helper()
	f := tr.serve(16 << 20)
	tr.killHolding(4 << 20)
	cmd := tr.powerless(tr.url())
	check, requests := tr.untouched(tr.statePath(), tr.partPath()), len(tr.srv.Requests())
	must(tr, os.Chmod(path, mode))
	begun := time.Now()
	o := tr.launch(cmd).wait()
	must(tr, os.Chmod(path, normal))
	check()
	o.fails(3)
	o.refuses(3)
	o.tells("permission denied")
	if took := time.Since(begun); took > soon(3*time.Second) {
		tr.Errorf("it took %v", took)
	}
	tr.fewRequests(requests)
	tr.run().good("f.bin", f)
	tr.overhead(1.25)
	tr.met()
}
