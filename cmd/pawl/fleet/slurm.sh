#!/bin/bash
# Workers of a fleet on up to 16 nodes, until nothing is left to do; see pawl help fleet. Queue
# the list first, on any machine that sees DIR, and report its end there, with:
#
#	run=$(pawl mirror /scratch/files.txt -d /scratch/mirror --shared --detach)
#	job=$(sbatch --parsable slurm.sh)
#	sbatch --dependency=afterany:$job --wrap="pawl queue report $run --report /scratch/report.json"
#
# with PAWL_QUEUE and PAWL_QUEUE_CREDS of a submitter, which sbatch passes on. The workers take their
# own credentials from WORK_CREDS.
# Nodes may be taken away, and tasks may start late or not at all: others do their work.

#SBATCH --job-name=pawl-work
#SBATCH --array=1-16
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=2
#SBATCH --mem=1G
#SBATCH --time=12:00:00
# pawl gets SIGTERM half a minute before the end, and gives its files back to the others
#SBATCH --signal=TERM@30
#SBATCH --requeue
#SBATCH --open-mode=append

DIR=/scratch/mirror
# on a disk of the node, never on one that nodes share
STATE=${TMPDIR:-/tmp}/pawl-work-$SLURM_ARRAY_TASK_ID

export PAWL_QUEUE=${PAWL_QUEUE:-tls://queue.example.org}
export PAWL_QUEUE_CREDS=${WORK_CREDS:-$HOME/.config/pawl/work.creds}

srun pawl work -q --once -d "$DIR" --shared --state "$STATE"
code=$?

# Where the time has ended before the work (143), the task runs again, at most five times.
if [ "$code" = 143 ] && [ "${SLURM_RESTART_COUNT:-0}" -lt 5 ]; then
	scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
fi
exit "$code"
