#!/usr/bin/env bash
# Figure 4: finetuning accuracy against the length of pre-training (Table 2's ViT-L rows).
#
#   bash experiments/figure4_finetuning.sh [--flags]      SCALE=smoke|laptop|evening|overnight|gpu|paper, or --scale=...
#
# The flags are those of table2_jft.sh. Runs that another table has made are only evaluated.
#
# The paper, IN-1K top-1 in % after 5000 epochs: CAN 86.1, SimCLR 85.5, MAE 85.4.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

exec python "$CAN_ROOT/experiments/figure4_finetuning.py" --scale="${SCALE:-laptop}" "$@"
