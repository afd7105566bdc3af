#!/usr/bin/env bash
# Figures 6, 9 and 10: finetuned models on seven shifted test sets; supervised training and PyramidAT in Figure 10.
#
#   bash experiments/figure6_robustness.sh [--flags]      SCALE=smoke|laptop|evening|overnight|gpu|paper, or --scale=...
#
# The flags are those of table2_jft.sh. Runs that another table has made are only evaluated.
#
# The paper prints no numbers but a count: CAN ViT-B beats PyramidAT on 6 of 7 sets (Figure 10).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

exec python "$CAN_ROOT/experiments/figure6_robustness.py" --scale="${SCALE:-laptop}" "$@"
