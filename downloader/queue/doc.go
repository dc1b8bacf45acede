// Package queue keeps downloads with an order and a state that outlive the process. It runs some of
// them at a time, and lets any number of callers add, pause, reorder, change and remove them meanwhile.
//
// # Durability
//
// The tasks are in the state file, beside the records of their downloads: a task has the ID of its
// record, so that all commands see the same download. A change is made in memory first,
// and Queue.Sync returns when it is durable; many changes share one transaction. Nothing starts before its
// task is durable. The bytes are the business of package store; if the process is killed, a task that was
// running waits again, and its download continues with the bytes on record.
//
//	add       the task is durable                     <- it will run
//	run       the record has the ID of the task
//	end       the file has its final name; then the task is complete. A kill between the two makes
//	          the next process find the finished file, and nothing is downloaded
//	remove    the mark of the task is durable; then its files are deleted, without the lock of the queue;
//	          then the task is gone. A kill between makes the next process delete the rest
//
// Header fields, cookies, users and passwords are never stored. After a restart their tasks run without
// them: Task.Lost has the names of the missing ones. A file whose download had not begun then fails if the
// server sends a web page instead, which is probably its form to log in.
//
// # Order
//
// Each unfinished task has a rank, and the ones with the lowest ranks run first. A task that ended becomes
// history, in the order of the ends. The history is bounded.
//
// # Files
//
//	queue.go    Options, Queue, and the methods that change tasks
//	task.go     Spec and Task; view.go, queries
//	run.go      starts tasks, and notes how they end
//	order.go    ranks; catalog.go, which tasks are the same download
//	save.go     makes changes durable; files.go, deletes the files of removed tasks
//	events.go   Event; metalink.go, lists of Metalinks
package queue
