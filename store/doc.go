// Package store keeps the state of downloads that must survive a crash: the part file of
// each download and its record in the state file. One protocol keeps the two in step.
//
// # Goals
//
//   - Recorded means durable. A record may list a byte range as held only if a sync of the
//     part file returned nil after the last byte of the range was written.
//   - A file under its final name is complete. Bytes go to NAME.part; only a complete and
//     synced file is renamed to NAME.
//   - A file that pawl did not download is never overwritten, unless the user asks for it.
//
// # Files
//
//	DIR/NAME.part   the bytes received so far, each at its final offset; see "The name of
//	                a part file"
//	DIR/NAME        the finished file
//	DIR/.pawl-OWNER-ID.tmp
//	                a small file that is being written, see "Small files with a temporary
//	                name"
//	STATE/pawl.db   a bbolt file with the records of all downloads, the checksums of the
//	                pieces of their part files, and the ledger
//	STATE/pawl.lock locked while pawl.db is created or a damaged one is renamed
//	STATE/pawl.checked
//	                in which condition pawl.db was last known to be sound
//	STATE/hosts/    empty files; their locks limit the connections of all processes to
//	                one host, see Slots
//	STATE/runs/     one file per pair of list and directory, locked while that pair is
//	                mirrored; it names the process that holds the lock, see LockRun
//	STATE/locks/    one lock file per running download whose part file cannot be locked
//
// The contents of hosts, runs and locks may be deleted while no pawl process runs.
//
// # The name of a part file
//
// A download may itself be called NAME.part, and a list may name both NAME and NAME.part.
// Therefore each record says which part file it has. The function checkNames decides in
// the transaction that records a new download:
//
//   - If NAME.part is the target of another download, finished or not, the part file is
//     NAME.1.part, or NAME.2.part, and so on.
//   - If the target is the part file of another download, the error is ErrPartFile, and
//     no option overrides it. The name becomes free when the other download ends. A
//     mirror run tries such a file again in its next round.
//
// # The commit protocol
//
//	create  0. create and lock NAME.part; record the download with no held range
//	commit  1. WriteAt the bytes of a range
//	        2. fdatasync NAME.part; the first time, also fsync DIR
//	        3. one bbolt transaction adds the range to the record and stores the
//	           checksums of the pieces that the range touches    <- the commit point
//	finish  4. check that all bytes are held; truncate the file if it is too long, set its
//	           modification time and mode, fsync it; record the state "finishing" with
//	           the size and the modification time
//	        5. rename NAME.part to NAME, never over a foreign file; fsync DIR; record the
//	           state "done" with the modification time that NAME then has
//
// The steps must run in this order. If step 3 came before step 2, a power cut could leave
// a record that claims bytes which are not on disk. If the rename of step 5 came before
// the fsync of step 4, NAME could be incomplete.
//
// # What a crash leaves behind
//
//	before 3        bytes that no record lists; they are downloaded again
//	after 3         the range is held, and on disk
//	between 4 and 5 a complete NAME.part, state "finishing"; Resume repeats step 5
//	within 5        NAME, state "finishing"; Resume recognises the file by the size and the
//	                time that step 4 recorded, and completes step 5
//
// Recovery is the normal path: to resume is to open and to continue. If a part file is
// shorter than its record says, the pieces that are no longer complete become missing, and
// Part.Lost reports how many bytes these are. If the part file is gone, all bytes become
// missing.
//
// # Repair of a finished file
//
// If pieces of a finished file no longer have their recorded checksums, the file becomes the
// part file of a download that holds all the other pieces:
//
//	repair  1. one transaction records an unfinished download with a new ID. It holds the
//	           right pieces, with copies of their checksums, and Record.Repairs has the size
//	           and the time of the file                      <- the commit point
//	        2. rename NAME to NAME.part, never over another file; fsync DIR; lock NAME.part;
//	           record its change time, unless somebody has touched the file since step 1
//	        3. fetch the missing pieces and finish as any other download
//	give up 4. record the size and the time that NAME.part has now
//	        5. rename NAME.part to NAME, never over another file; fsync DIR
//	        6. delete the record of step 1
//
// Reopen is step 1, Resume does step 2, and PutBack steps 4 to 6. A crash leaves behind:
//
//	before 1        the damaged file, and its entry in the ledger
//	after 1         the same, and an unfinished download without a part file. Resume
//	                recognises the file at NAME by its size and time, and does step 2
//	within 2, 3     an unfinished download like any other
//	after 4, 5      the same; Resume does step 2 again
//
// The entry of the finished file stays in the ledger until step 3 ends. It has the checksums
// of the wrong pieces: if the fetched pieces have others (Differs), the remote file is another
// one, and the repair is given up. If the wrong pieces are not known, because the file has a
// single checksum, the whole file is downloaded anew and replaces the old one in the end.
//
// # Partial files of other programs
//
// A partial file that another program has left becomes the part file of a new download, after
// the caller has compared some of its bytes with the server's (TakeOver):
//
//	take over  1. rename the file to NAME.part, never over another file; lock it
//	           2. read its bytes, for their checksums; fdatasync NAME.part; fsync DIR
//	           3. one transaction records the download, with the ranges and the checksums
//	                                                         <- the commit point
//
// A crash before 3 leaves NAME.part without a record, which can be taken over in the same way.
// An error puts the file back. A control file of the other program stays until step 5 of the
// commit protocol, after the rename and before the state "done".
//
// # Moved part files
//
// If somebody has moved a part file, for example with its directory, FindMoved recognises it by its
// change time, or else by the checksums of its pieces. Move then makes its bytes durable in the new
// place, and only after that one transaction changes the record.
//
// # Group commit
//
// A sync and a transaction cost little more for many downloads than for one. Therefore
// concurrent calls of Part.Commit share their syncs and one transaction, and so do
// concurrent calls of Store.Publish. The batcher does this without a goroutine of its own:
// one of the callers does the work for all of them.
//
// # The ledger
//
// The record of a finished file becomes an entry of the ledger, a bucket with the target
// path as its key. A second run of a list looks its files up there, some hundreds in one
// transaction (LookupTargets). It sends no request for a file whose size and modification
// time still match the entry (Reconcile). The ledger may hold millions of entries. Therefore
// an entry is short, and no function reads all of them into memory at once. Each entry has
// a checksum, as each record does. A damaged entry is deleted; its file then counts as a
// file that pawl did not download.
//
// Each record and each entry holds the keys of the lists that have named the file. A run
// of a list adds its key (Claim). A run that prunes removes its key from files that the
// list no longer names (Release, Abandon), and the file is deleted with its last key. Each
// of the three functions reads the keys on record and writes in one transaction, and Release
// also deletes the file within it, so two processes cannot disagree about the lists of a
// file. A crash in Release leaves an entry without a file, as if somebody had deleted the
// file. A record that is written from memory keeps the keys that other processes have added
// to the stored one.
//
// An entry also disappears if another download replaces the file at its path. The new
// entry inherits the keys.
//
// # Many small files
//
// Thousands of small files would spend more time in fsync than in the transfer. Therefore
// each is written to a file without a name (TempFile), of which a crash leaves nothing.
// Publish then runs this protocol for all files of a group:
//
//	publish 1. set the modification times, fsync each file
//	        2. one bbolt transaction adds all files to the ledger, marked "publishing"
//	                                                              <- the commit point
//	        3. link each file to its name, never over a foreign file; fsync the
//	           directories
//
// The order is the same as in Finish. Both promises hold for each file: a file with a
// name was synced before, and a file that the ledger calls finished is on disk. A crash
// leaves behind:
//
//	before 2        nothing
//	after 2         entries of which step 3 has named some files, perhaps not durably; the
//	                next run finds the other files missing and downloads them
//
// The mark "publishing" says that an entry may be of the second kind. If an entry has the
// mark and the file at the target is neither the recorded one nor the one to be replaced,
// the file is foreign. If it is the recorded one, Reconcile syncs its directory before it
// reports the file as intact. The transaction of the next group clears the marks of the
// group before it. At the end of a run, FlushPublished clears the last ones.
//
// An existing file is replaced in one step: the new file is linked to NAME.part and renamed
// over NAME. A crash between the two leaves both names, and Reconcile completes the rename.
// An error concerns one file: its old entry is restored, and the other files of the group
// are published.
//
// If a file system has files without a name but refuses to link them, each file of the group
// is copied to NAME.part and finished like a large file, so nothing is downloaded again. From
// then on CreateTemp creates files with a temporary name.
//
// # Small files with a temporary name
//
// NFS, Lustre, CephFS and most FUSE file systems have no files without a name. There,
// CreateTemp creates DIR/.pawl-OWNER-ID.tmp and locks it. Publish follows the same protocol
// and shares the same syncs and transactions, but step 3 renames the file to its name, never
// over a foreign file. A file that is to be replaced is replaced by that rename, without
// NAME.part. Close removes a file that was not published.
//
// A crash leaves the same as above, and also the temporary files that step 3 has not renamed.
// A process that creates its first temporary file in DIR, or that completes an interrupted
// Publish there, first removes the temporary files in DIR that nobody has locked. It leaves
// alone:
//
//   - a locked file: its process is alive;
//   - a file that is on record, because a list may name any file;
//   - without locks on that file system, a file whose OWNER is another machine or state
//     directory: only the lock in STATE/locks shows that a process is alive.
//
// OWNER is 8 hex digits of a hash of the host name and the state directory, ID is 16 random
// hex digits. On Windows, small files go through NAME.part like large ones.
//
// # Downloads that move to another machine
//
// Several machines may fill one directory of a shared file system. Each has a state directory
// on a disk of its own. If one is taken away, another one continues its unfinished downloads:
//
//	hand over  1. after a commit, read the record and the checksums of its pieces in one
//	              transaction (Handoff), and save them where the other machines find them
//	import     2. lock NAME.part
//	           3. one transaction records the download with a new ID, and the checksums
//	                                                         <- the commit point
//	           4. unlock; Resume as any other download
//
// A Handoff is read from the state file. It therefore claims only bytes that were synced
// before, and an old one claims less, never more. After Restart an old one claims bytes of
// another version; the caller should save a new one before the first new byte. If it does not,
// the checksums of the pieces reveal it: unless NAME.part has the change time that the
// Handoff says, the Part is Dirty after Resume, and every held piece is verified.
//
// A Handoff comes from a queue, which is trusted no more than a list is. Import believes
// nothing that leads out of Options.Root, replaces a file, deletes a file or names a host.
// It refuses ranges and checksums that do not fit together, so that nobody can make
// Resume claim more than the Handoff, or work for hours.
//
// If this state file has an unfinished download to the same target that is newer, or that
// holds more of the same version, it stays as it is and is continued. A crash before 3 leaves
// nothing behind, and a crash after it an unfinished download like any other.
//
// The lock of a part file is on the file itself (flock), except on Windows, where it is on
// NAME.part.lock. A machine that is only frozen therefore still keeps the others out: Import and
// Resume return ErrBusy until its file server gives up its locks. If the file system
// cannot lock at all, Import fails. If it can, but keeps the locks to each machine, pawl cannot
// find that out here: for example NFS with the mount options nolock or local_lock, and Lustre
// with localflock. Two machines may then write to the same part file. As long as both fetch the same
// version, they write the same bytes. Once one of them finishes, the next commit of the other one returns
// ErrGone, and its Finish finds a foreign file. If one of them restarts with another version,
// the other one notices that the file was truncated only if it has become smaller than at its last commit;
// otherwise only a digest of the whole file reveals the damage. So whoever lets machines share
// a directory must first test whether they see each other's locks.
//
// AdoptAll records the files that other machines have finished, thousands in one transaction,
// for the report and the next run of their list. They are on disk, and synced, before their
// machine reports them. AdoptAll does not look at them; the next run compares them with
// their records. The machine that has fetched them then removes its own entries (Forget).
//
// # Disk space
//
// A download does not start if the disk has no room for the whole file. While it runs,
// Reserve allocates blocks ahead of the received bytes: as many bytes as have arrived, but
// at most 1 GiB. A server that only announces a large file thus takes no space. Close frees
// blocks that were reserved in vain. A killed process cannot do so; the next process that
// opens the part file does. With Options.MinFree, a download fails if it would leave less
// free space than that, or has left less.
//
// # Other users of the machine
//
// A record says which files pawl may write and delete. A user who can write a record could
// have any file of the pawl user replaced. Therefore Open refuses a state directory that
// belongs to another user or that other users may write to, and checks its contents
// likewise. Root is trusted. Open also removes the read permission of other users.
//
// A part file has mode 0600, because a user who can read a file can also lock it. Step 4
// gives it the mode that the umask allows, before the fsync. After Lock and after Open, the
// part file must be a regular file of this user with one hard link. If it is not, pawl
// leaves it alone: a new download takes the next part file name, and an earlier download
// fails until somebody repairs the file. On a file system that gives all files one owner,
// that owner counts as this user.
//
// # Files of lists stay below their directory
//
// A list comes from a third party, and so may a symbolic link in its directory. With
// Options.Root, a rootedFS opens the directory of each file below the root without following
// symbolic links. It creates, links, renames, locks and removes the file through that handle
// (openat2 with RESOLVE_NO_SYMLINKS; the handle is used through /proc). A directory that
// becomes a link at any time therefore leads nowhere. The root itself may be reached through
// links. A link at the path of the file itself is never followed, with or without Root.
// On systems other than Linux, and without /proc, each directory is checked before the path
// is used; a link that is created between the check and the use is followed. Only the free
// space is queried by path. The record keeps the root, so Resume applies the same rule.
//
// # Limitations of file systems
//
// Network file systems, FUSE and old disk formats lack calls that the protocol uses. Pawl
// finds out by trying each call. The table in tolerantfs.go says which errors mean that a
// call does not exist. A tolerantFS wraps every FS and works without the missing call. If
// a promise becomes weaker, Options.Warn is called once for each limitation:
//
//	lock of the part file     STATE/locks/HASH.lock is locked instead; warning
//	open or fsync of DIR      skipped; warning
//	fdatasync                 fsync instead
//	fsync of a file           skipped; warning
//	modification time         skipped; warning
//	mode of a file            skipped
//	rename without replacing  link and unlink instead
//	and no links either       a check, then a rename that could replace a file; warning
//	rename that replaces      unlink of the old file, then a rename; warning
//	truncate                  skipped if the size is right already or no byte is held, else
//	                          ErrCannotTruncate
//	files without a name      files with a temporary name
//	linking such a file       a part file, and then files with a temporary name
//	free space, reservation and its release, early writeback: best effort, all errors are
//	                          ignored, except that a reservation may find the disk full
//
// Every other error is returned. EIO, ENOSPC and EDQUOT of a sync never count as a
// limitation. EPERM and EACCES of a file's sync do not either, because NFS uses them to
// report bytes that it could not write. An error of close is ignored, because all recorded
// bytes were synced before.
//
// A process that can lock the part file also respects the lock in STATE/locks. The reverse
// is impossible: a process that cannot lock the part file does not see the lock of another
// process that can. A lock in STATE/locks does not bind a process with another state
// directory or on another machine.
//
// Some file systems set or round the modification time when a file is closed or renamed.
// Therefore the record gets the time that the file has at the end of step 5. With the
// time of step 4, the next run would take the file for one that somebody has changed. Others
// round it later: the kernel shows all nanoseconds until the disk is mounted again. Therefore
// a file also counts as unchanged if its time is the recorded one in a coarser unit; see
// sameModTime.
//
// # Changes by others
//
// Step 3 also records when the part file last changed (Record.ChangeTime). If Resume finds
// another time, either a process was killed before it could record its last writes, or
// somebody has changed the file. The Part is then Dirty: the held pieces must be read again
// and compared with their checksums (VerifyNext), while the download continues. A piece that
// does not match or cannot be read becomes missing. Finish refuses a Part that is Dirty. If
// held bytes turn out to be wrong (Discard), the record is changed first; only then may the
// bytes be overwritten.
//
// If somebody moves, deletes or truncates a part file during the download, the next commit
// notices it and removes all held ranges from the record.
//
// The state file may be damaged, too. bbolt keeps checksums only of its own header.
// Therefore each record and each page of piece checksums has a checksum of its own. A
// damaged record is deleted and reported to Options.Warn. A state file with a damaged
// structure is renamed, and a new one is created. If a record of a running download is no
// longer in the state file, the next commit writes it again.
//
// # When the state file is checked
//
// bbolt trusts the structure of its file. A page that leads back to itself would end the
// process, so the structure must be checked before bbolt reads it. The check reads the whole
// file, 0.2 s for 500,000 finished files. Therefore it runs only when in doubt. Each
// transaction ends with a checkmark, written while the state file is still locked: the boot,
// the mount, and the inode, size, modification time and change time of the state file. Each
// transaction begins with a comparison of the checkmark with the state file. If they differ,
// pawl was not the last to change the file, and the structure is checked. The structure can be
// damaged in these windows:
//
//	power cut, crash of the kernel       the boot differs
//	a disk is unplugged, and comes back  the mount differs
//	a process is killed while it writes  no checkmark was written: the times differ
//	a full disk, an error of a write     likewise, because the transaction failed
//	somebody writes to the file          the times differ; no call can set the change time
//	somebody puts another file in place  the inode differs, for example of a restored backup
//
// A disk that changes bytes by itself changes no time. If bbolt then panics or returns an
// error, the file is checked and renamed, too. Damage that bbolt does not notice is found after
// the next boot. Where the boot is not known, or if the checkmark cannot be written, each
// process checks the file once. On Windows the file is not checked.
//
// After a failed sync, all bytes since the last successful sync are suspect: the kernel may
// have dropped them and still report success for the next sync. Therefore the Part refuses
// all further work, the ranges stay out of the record, and the next Resume makes them
// missing.
//
// # Assumptions
//
//   - If the file system has fsync and fdatasync, they return nil only when the data, the
//     size and the block allocation are on stable storage.
//   - rename is atomic.
//   - An fsync of a directory makes its entries durable.
//   - The file system of the state directory can lock, map and sync files, and satisfies
//     bbolt's own assumptions.
//
// # Concurrent processes
//
// The state file is opened for each transaction and closed after it. Any number of
// processes may therefore work at once, and none waits longer than a transaction of another
// takes. A download holds an advisory lock on its part file from Create or Resume until
// Close. Its record names the process that holds the lock, by its number and the time of its
// start, so that another process can ask it to stop and never asks a third one. The package
// starts no goroutine.
//
// # The files of this package
//
//	store.go, record.go                 Store, Record and their states
//	create.go, partname.go              step 0 of the commit protocol
//	part.go, commit.go, groupcommit.go, piecesums.go
//	                                    steps 1 to 3
//	finish.go                           steps 4 and 5
//	resume.go, check.go, repair.go      downloads and finished files that are continued, verified, repaired
//	adopt.go, move.go, takeover.go      files that somebody else has put there, moved, or begun
//	handoff.go, import.go               downloads that move to another machine
//	smallfiles.go, namedtemp.go, anonfile_linux.go
//	                                    small files, which are published in groups
//	ledger.go, lists.go, release.go     finished files, the lists that claim them, their deletion
//	statefile.go, index.go              transactions on the state file; the records and indexes in it
//	checkmark.go, structure.go, boot*.go
//	                                    when and how the structure of the state file is checked
//	slots.go, runlock.go, process*.go   locks among processes, and who holds them
//	hosts.go, queue.go, hashes.go, chosenid.go
//	                                    notes about hosts, the queue of a daemon, digests of pieces, IDs
//	fs*.go, tolerantfs.go, fallbacklock.go, rootedfs*.go, modtime.go
//	                                    file systems, and those that lack a call
//	space.go, owner.go                  room on the disk; files of other users
package store
