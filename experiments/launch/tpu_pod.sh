#!/usr/bin/env bash
# Starts a command on all workers of a Cloud TPU pod slice, one process a worker. From any machine with gcloud:
#
#   bash experiments/launch/tpu_pod.sh NAME ZONE REPOSITORY_URL experiments/pretrain.py --scale=paper --method=can \
#     --model=vit_l --data=jft --epochs=5000 --data_dir=/mnt/data --results_dir=/mnt/results --workdir=/mnt/checkpoints
#
# Each worker clones the repository if it has none, and sets it up once. Folders of data, results and checkpoints are
# those of a file system that all workers mount. Started again, it goes on from the last checkpoint.
set -euo pipefail
if [ $# -lt 4 ]; then
  echo "usage: bash experiments/launch/tpu_pod.sh NAME ZONE REPOSITORY_URL experiments/pretrain.py --flag=value ..." >&2
  exit 1
fi
command -v gcloud >/dev/null || {
  echo "error: no gcloud here: install the Google Cloud CLI" >&2
  exit 1
}
name=$1 zone=$2 url=$3
shift 3
printf -v quoted ' %q' "$@" --coordinator=auto # JAX asks the slice's own records who the workers are
printf -v clone '[ -d can-jax ] || git clone %q can-jax' "$url"
exec gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all \
  --command="set -e; $clone; cd can-jax; CAN_JAX=tpu bash experiments/setup.sh; .venv/bin/python$quoted"
