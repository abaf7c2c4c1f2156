#!/bin/bash
# Several runs that share one results folder, each with one GPU on whatever node is free.
#
#     sbatch --array=1-8 docs/slurm/array.sh suite.yaml --results /shared/results
#
# Several devices in each pretraining: what is asked for here counts instead of the lines below.
#
#     DEVICES=2 sbatch --gpus=2 --cpus-per-task=16 --mem=96G docs/slurm/array.sh suite.yaml --results /shared/results
#
#SBATCH --job-name=sem-bench
#SBATCH --array=1-4
#SBATCH --nodes=1
#SBATCH --gpus=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=48G
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:TERM@120
# The last line: two minutes before the time is over this script gets SIGTERM, and when the job is preempted, where the
# cluster gives time for it (GraceTime of the partition or QOS, PreemptParameters=send_user_signal). The run
# then writes its checkpoints and exits with 143, and the job is put back into the queue, where it goes on.

set -u
stopped= run=
trap 'stopped=1; [ -z "$run" ] || kill -TERM "$run"' TERM

await() { # what runs in the background; a signal ends a wait, not the run
    run=$!
    [ -z "$stopped" ] || kill -TERM "$run" # it came a moment before
    wait "$run"
    code=$?
    if [ -n "$stopped" ]; then
        wait "$run"
        code=$?
    fi
}

python -m sem_bench run --devices "${DEVICES:-1}" "$@" &
await
if [ "$code" = 130 ] || [ "$code" = 143 ]; then # 143: before the run listened
    scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
fi
exit "$code"
