// Package store is what survives a crash: the part file of a download and its
// record in the state file, kept in step by one protocol.
//
// # Goals
//
//   - Recorded means durable: a byte range stands in a record only if a sync of
//     the part file returned nil after its last byte was written.
//   - A final name is a finished file: bytes go to NAME.part, and only a
//     complete, synced file is renamed to NAME.
//   - A file that pawl did not make is never overwritten, unless told so.
//
// # Files
//
//	DIR/NAME.part   the bytes that have arrived, each at its final offset; see
//	                "The name of a part file"
//	DIR/NAME        the finished file
//	STATE/pawl.db   one bbolt file with the records of all downloads, the sums
//	                of what is held of their part files, and the ledger
//	STATE/pawl.lock taken while pawl.db is created or set aside
//	STATE/hosts/    empty files whose locks are the connections to a host, which
//	                all processes share: see Slots
//	STATE/runs/     a file for each list and directory, locked while that is
//	                mirrored, with the name of who has it: see LockRun
//	STATE/locks/    a file for each part file that is in use and cannot be locked
//	                itself, locked in its place
//
// What is in hosts, runs and locks may be deleted while no process runs.
//
// # The name of a part file
//
// A download may be called NAME.part itself, and a list may name both NAME and
// NAME.part. So a record says which part file it has. One function, vacant, decides in
// the transaction that begins a download:
//
//   - If NAME.part is the target of another download, finished or not, the part file is
//     NAME.1.part, or NAME.2.part, and so on.
//   - If the target is the part file of another download, the error is ErrPartFile, and
//     no option changes that. The name is free when the other download has ended; a run
//     of lists tries again then, which costs a round.
//
// # The commit protocol
//
//	begin   0. lock NAME.part (creating it), record the download: nothing held
//	commit  1. WriteAt the bytes of a range
//	        2. fdatasync NAME.part; the first time, fsync DIR too
//	        3. one bbolt transaction adds the range, and the sums of the
//	           pieces that it is in                        <- the commit point
//	finish  4. check that all is held; cut to size if longer, set the modification
//	           time and the mode, fsync NAME.part; record "finishing" with size and time
//	        5. rename NAME.part to NAME (never over a foreign file), fsync DIR,
//	           record "done" with the time that NAME then has
//
// # What a crash leaves
//
//	before 3        bytes that no record names; they are fetched again
//	after 3         the range is held, and on disk
//	between 4 and 5 a complete NAME.part, "finishing": step 5 is repeated
//	in 5            NAME, still "finishing": recognised by the size and time
//	                that step 4 recorded, and step 5 is completed
//
// Recovery is the normal path: to resume is to open and go on. A part file that
// is shorter than its record loses the pieces that it no longer has whole, and the
// caller is told. A lost part file loses them all.
//
// # The ledger
//
// The record of a finished file is an entry of the ledger, a bucket whose keys are
// paths: a second run of a list looks its files up there, some hundreds in one
// transaction (LookupTargets), and asks nobody for those whose size and modification time
// are still the ones recorded (Reconcile). There may be millions, so an entry is short,
// and nothing reads all of them into memory at once. It has a checksum of its own, as
// records do; a damaged one is forgotten, and its file is then one that pawl did not
// make.
//
// A record, finished or not, has the keys of the lists that have named the file. Each
// run of a list adds its key (Claim), and a run that prunes takes it from files that
// the list no longer names (Release, Abandon). A file goes with its last key. Each of
// the three looks at the keys on record and writes in one transaction, in which Release
// also deletes the file, so two processes cannot disagree about who names it. A crash
// in Release leaves an entry without a file, as if somebody had deleted it. A record
// written from memory keeps the keys that others have added meanwhile.
//
// An entry also goes when another file takes its path; that one gets its keys.
//
// # Many small files
//
// A sync for each of thousands of small files would take longer than they do. So
// each is written without a name (TempFile), from which a crash leaves nothing, and a
// group of them goes through one protocol (publishAll):
//
//	place   1. set the modification times, fsync each file
//	        2. one bbolt transaction adds all to the ledger, as "placing"
//	                                                      <- the commit point
//	        3. link each to its name (never over a foreign file), fsync the
//	           directories
//
// The order is that of Finish, so both promises hold for each file: what has a name
// was synced before, and what the ledger calls finished is on disk. What a crash
// leaves:
//
//	before 2        nothing
//	after 2         files on record, of which step 3 has named some, perhaps not
//	                durably; the next run finds the others missing, and fetches them
//
// "Placing" says that an entry may be of that kind. Where it stands, a file at the
// target which is neither the recorded one nor the one that this replaces is not
// ours; and one that is there gets its directory synced before it is believed
// (Reconcile). The transaction of the next group takes it back, and at the end of a run
// FlushPublished does.
//
// A file that is replaced goes in one step: the new one is linked to NAME.part, and
// renamed over it. A crash between these leaves both, and Reconcile completes the
// rename. An error of one file is that of one file: its entry becomes again what it
// was before, and the others of the group are placed.
//
// Where files cannot be without a name, small ones go through NAME.part as all do. If
// the file system makes such files and then refuses to link them, each file of the
// group is copied to NAME.part and finished like a large one, so that nothing is
// fetched again. TempFile returns errors.ErrUnsupported from then on.
//
// # Disk space
//
// A download does not begin if the disk has no room for it. While it runs, Reserve asks
// for blocks ahead of the bytes that have arrived, as many as have arrived, but at most
// 1 GiB: what a server announces takes no space. Close gives back what was reserved in
// vain. A process that is killed cannot; the next one that works on the file does. With
// Options.MinFree, a download fails when it would leave less free, or has left less.
//
// # Other users of the machine
//
// A record says what pawl may write and delete, so whoever can write a record can have
// any file of the user replaced. Open refuses a state directory that belongs to another
// user, or that others may write to, and what it finds in it is checked likewise; root
// is trusted. Open also closes to others what only they may read.
//
// A part file has mode 0600, because whoever can read a file can lock it. Step 4 gives it
// the mode that the umask leaves, before the fsync. After Lock and after Open it must be a
// regular file of this user, with one name. If it is not, it stays as it is: a new download
// takes the next name for its part file, and an earlier one fails until the file is put
// right. On a file system that gives all files one owner, that owner counts as this user.
//
// # Files of lists stay below their directory
//
// A list comes from somebody else, and so may a link in its directory. With Options.Root,
// a belowFS opens the directory of each file below the root without following a symbolic
// link, and creates, links, renames, locks and removes the file by way of that handle
// (openat2 with RESOLVE_NO_SYMLINKS; the handle is used through /proc). So a directory
// that becomes a link at any time leads nowhere. The root itself may be reached through
// links, and a link in the place of a file is never followed in any case. Elsewhere than on
// Linux, and without /proc, each directory is looked at before a path is used: a link that is
// made between the two is followed. Only the free space is asked for by path. The record
// has the root, so that Resume does the same.
//
// # What a file system lacks
//
// Network file systems, FUSE and old disk formats lack calls that the protocol uses.
// Pawl finds out by trying, at each call. The table in lacks.go says which errors mean
// that a call is not there; a tolerantFS, which wraps every FS, then goes on without
// it. If a promise becomes weaker, Warn is told so, once for each lack:
//
//	lock of the part file     STATE/locks/HASH.lock is locked in its place; warning
//	open or fsync of DIR      left out; warning
//	fdatasync                 fsync
//	fsync of a file           left out; warning
//	modification time         left out; warning
//	mode of a file            left out
//	rename without replacing  link and unlink
//	and no links either       a look, then a rename that could replace; warning
//	cut to size               left out if nothing is held, else ErrUncut
//	unnamed files             part files
//	naming them               part files
//	space, reservation, giving it back, early writing: favours, whose errors are ignored, except that
//	                          a reservation may find the disk full
//
// All other errors are errors. EIO, ENOSPC and EDQUOT of a sync never mean a lack.
// Neither do EPERM and EACCES of a file's sync, because NFS reports bytes so that it
// could not write. An error of close is ignored, because all that is recorded was synced
// before.
//
// A process that can lock the part file respects the lock in STATE/locks as well. The
// reverse is not possible: a process that cannot lock the part file does not see that
// another one could. Nor does a lock in STATE/locks bind a process with another state
// directory, or on another machine.
//
// Some file systems set or round the modification time when a file is closed or
// renamed. So the record gets the time that the file has at the end of step 5. Else the
// next run would take the file for one that somebody has altered.
//
// # What somebody else does
//
// Step 3 also records when the part file was last changed. If Resume finds
// another time, a process was killed before it could record its last writes, or
// somebody has touched the file. Then the Part is Dirty: what is held is to be
// read again, piece by piece, and compared with the sums (VerifyNext), while the
// download goes on. A piece that differs is given up, and so is one that cannot be
// read. Finish refuses a Part that is Dirty. Before bytes are given up because
// the server has others (Cut), that is recorded; only then are they overwritten.
//
// A part file that is moved, deleted or cut while it is written is noticed by the
// next commit, which then takes back all that was held.
//
// The state file may be damaged, too. bbolt keeps checksums of its own header
// alone, so each record and each page of sums has one here. A damaged record is
// forgotten, and told; a file whose structure is damaged is kept under another
// name, and a new one begun. A record that is no longer in the state file is
// written there again by the next commit.
//
// A failed sync ends trust in all bytes since the last good one: the kernel may
// have dropped them and report the next sync as good. So the Part refuses all
// further work, the ranges stay out of the record, and the next Resume fetches
// them again.
//
// # What is assumed
//
// That fsync and fdatasync, if the file system has them, return nil only when the data,
// the size and the allocation are on stable storage; that rename is atomic; that an
// fsync of a directory makes its entries durable; that the state directory can lock,
// map and sync files; and what bbolt assumes of its own file.
//
// # Sharing
//
// The state file is opened for each transaction and closed after it, so any
// number of processes work at once and none waits longer than a transaction
// takes. A download is locked by an advisory lock on its part file, held from
// Create or Resume to Close. The package starts no goroutine.
package store
