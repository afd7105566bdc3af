#!/usr/bin/env bash
# Starts a command on all GPUs of a Slurm job, one process a GPU, which find each other. From the repository's root:
#
#   CAN_JAX=cuda13 bash experiments/setup.sh      once, in a folder that all nodes share
#   sbatch --nodes=8 --gpus-per-node=8 --ntasks-per-node=8 experiments/launch/slurm.sh \
#     experiments/pretrain.py --scale=paper --method=can --model=vit_l --data=jft --epochs=5000 --uncurated=...
#
# Three minutes before the time is up, SIGTERM has the processes save; the same sbatch goes on from there. If one process
# ends, Slurm ends the others.
#SBATCH --job-name=can
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@180
#SBATCH --output=%x-%j.log
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:?start this with sbatch}"
if [ ! -x .venv/bin/python ]; then
  echo "error: no .venv here: run CAN_JAX=cuda13 bash experiments/setup.sh on this node first" >&2
  exit 1
fi
if [ $# -eq 0 ]; then
  echo "error: no command: sbatch ... experiments/launch/slurm.sh experiments/pretrain.py --scale=paper ..." >&2
  exit 1
fi
exec srun --kill-on-bad-exit=1 .venv/bin/python "$@"
