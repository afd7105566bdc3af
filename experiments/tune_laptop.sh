#!/usr/bin/env bash
# The learning rates of the laptop scale: each method at the same five rates, judged on held-out training images.
#
#   bash experiments/tune_laptop.sh [--flags]      results go to results/tuning/; about 20 minutes on two cores
#   METHODS=can bash experiments/tune_laptop.sh    one method only
#
# Pre-trains on 20,000 images of the uncurated set (MAE, which takes half of the time for an image, on 40,000). The probe
# learns from 10,000 of Fashion-MNIST's training images and is tested on the last 10,000 of them; the test set is not read.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

cd "$CAN_ROOT"
for method in ${METHODS:-can simclr mae}; do
  epochs=574 # 20,000 images
  if [ "$method" = mae ]; then epochs=2025; fi
  for rate in 0.00075 0.0015 0.003 0.006 0.012; do
    # The rate always becomes a part of the run's name, so that a change of the scale's own does not mix runs up.
    run=(--scale=laptop --method="$method" --model=vit_l --data=jft --epochs="$epochs" --base_lr="$rate"
      --name="$method-lr$rate-s0" --results_dir=results/tuning --workdir=checkpoints/tuning "$@")
    python experiments/pretrain.py "${run[@]}"
    python experiments/evaluate.py "${run[@]}" --train_split='train[:10000]' --test_split='train[50000:]'
  done
done
python analysis/make_tuning.py
