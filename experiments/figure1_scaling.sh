#!/usr/bin/env bash
# Figure 1: accuracy against the cost of pre-training, and by the set that was pre-trained on.
#
#   bash experiments/figure1_scaling.sh [--flags]      SCALE=smoke|laptop|evening|overnight|gpu|paper, or --scale=...
#
# The flags are those of table2_jft.sh. Runs that another table has made are only evaluated.
#
# It reads the runs of Tables 2 and 3 and one of Figure 5, and makes those that are missing. The paper: SimCLR takes
# 70 % more FLOPs than CAN (ViT-L).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

exec python "$CAN_ROOT/experiments/figure1_scaling.py" --scale="${SCALE:-laptop}" "$@"
