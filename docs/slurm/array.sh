#!/bin/bash
# Several runs that share one results folder, each with one GPU on whatever node is free.
#
#     sbatch --array=1-8 docs/slurm/array.sh suite.yaml --results /shared/results
#
#SBATCH --job-name=sem-bench
#SBATCH --array=1-4
#SBATCH --gpus=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=48G
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:TERM@120
# The last line: two minutes before the time is over, and when the job is preempted, this script gets SIGTERM. The run
# then writes its checkpoints and exits with 130, and the job is put back into the queue, where it goes on.

set -u
stopped=
trap 'stopped=1; kill -TERM "$run"' TERM

python -m sem_bench run "$@" &
run=$!
wait "$run"
code=$?
if [ -n "$stopped" ]; then # the signal ended the wait, not the run
    wait "$run"
    code=$?
fi
if [ "$code" = 130 ]; then
    scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
fi
exit "$code"
