#!/bin/bash
# One run on whole nodes, through Ray.
#
#     sbatch --nodes=4 docs/slurm/ray.sh suite.yaml --results /shared/results
#
#SBATCH --job-name=sem-bench
#SBATCH --nodes=2
#SBATCH --exclusive
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --mem=0
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:TERM@120

set -u
export RAY_USAGE_STATS_ENABLED=0
export RAY_task_oom_retries=0 # a job that needs more memory than there is fails, instead of being tried for ever
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN # so that nobody else on the network can use this job's nodes
RAY_AUTH_TOKEN=$(python -c "import secrets; print(secrets.token_hex(32))")
port=$((20000 + SLURM_JOB_ID % 20000)) # two of your jobs may meet on a node
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
# On one node, always in a subshell; exec, so that a kill of the subshell reaches srun.
on() { exec srun --nodes=1 --ntasks=1 --nodelist="$1" "${@:2}"; }
address="$(on "${nodes[0]}" hostname --ip-address | awk '{print $1}'):$port"

on "${nodes[0]}" ray start --head --port="$port" --include-dashboard=false --num-cpus="$SLURM_CPUS_ON_NODE" --block &
members=("$!")
for node in "${nodes[@]:1}"; do
    on "$node" ray start --address="$address" --num-cpus="$SLURM_CPUS_ON_NODE" --block &
    members+=("$!")
done

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
python - "$address" "${#nodes[@]}" <<'PYTHON' &
import sys, time
import ray

address, count = sys.argv[1], int(sys.argv[2])
for attempt in range(60):  # until all nodes are there
    try:
        ray.init(address=address, log_to_driver=False)
        if sum(node["Alive"] for node in ray.nodes()) >= count:
            sys.exit()
        ray.shutdown()
    except ConnectionError:
        pass
    time.sleep(2)
sys.exit(f"Ray: not all of {count} nodes came")
PYTHON
await
if [ "$code" = 0 ] && [ -z "$stopped" ]; then
    python -m sem_bench run "$@" --executor ray --address "$address" &
    await
elif [ -n "$stopped" ]; then
    code=130
fi
kill "${members[@]}"
if [ "$code" = 130 ] || [ "$code" = 143 ]; then # 143: before the run listened
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
