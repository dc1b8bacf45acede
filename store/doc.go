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
//	DIR/NAME.part   the bytes that have arrived, each at its final offset
//	DIR/NAME        the finished file
//	STATE/pawl.db   one bbolt file with the records of all downloads, and the
//	                sums of what is held of their part files
//	STATE/pawl.lock taken while pawl.db is created or set aside
//
// # The commit protocol
//
//	begin   0. lock NAME.part (creating it), record the download: nothing held
//	commit  1. WriteAt the bytes of a range
//	        2. fdatasync NAME.part; the first time, fsync DIR too
//	        3. one bbolt transaction adds the range, and the sums of the
//	           pieces that it is in                        <- the commit point
//	finish  4. check that all is held; cut to size, set the modification time,
//	           fsync NAME.part; record "finishing" with size and time
//	        5. rename NAME.part to NAME (never over a foreign file), fsync DIR,
//	           record "done"
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
// # What somebody else does
//
// Step 3 also records when the part file was last changed. If Resume finds
// another time, a process was killed before it could record its last writes, or
// somebody has touched the file. Then the Part is Suspect: what is held is to be
// read again, piece by piece, and compared with the sums (Recheck), while the
// download goes on. A piece that differs is given up, and so is one that cannot be
// read. Finish refuses a Part that is Suspect. Before bytes are given up because
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
// That fsync and fdatasync return nil only when the data, the size and the
// allocation are on stable storage; that rename is atomic; that an fsync of a
// directory makes its entries durable; and what bbolt assumes of its own file.
//
// # Sharing
//
// The state file is opened for each transaction and closed after it, so any
// number of processes work at once and none waits longer than a transaction
// takes. A download is locked by an advisory lock on its part file, held from
// Create or Resume to Close. The package starts no goroutine.
package store
