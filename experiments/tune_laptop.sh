#!/usr/bin/env bash
# How the laptop scale was chosen: resolution, batch, crops, learning rates, and CAN's weights by Figure 8's sweeps.
#
#   bash experiments/tune_laptop.sh [--stages=crop,learning_rate] [--seeds=0,1,2] [--dry_run]
#
# Trials go to results/tuning/; those of CAN, SimCLR and MAE take about three hours on two cores. The test set is not
# read: a linear probe learns from 40,000 of CIFAR-10's training images and is judged on the other 10,000. Of the methods
# that the paper quotes: --stages=cited_rates,teacher_momentum,local_weight,mask_rate,codes
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

exec python "$CAN_ROOT/experiments/tune_laptop.py" "$@"
