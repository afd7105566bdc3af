#!/usr/bin/env bash
# Figure 7: accuracy of CAN and SimCLR against the rate of masking (ViT-B; 100 epochs of IN-1K, 800 of JFT-300M).
#
#   bash experiments/figure7_masking.sh [--flags]      SCALE=smoke|laptop|evening|overnight|gpu|paper, or --scale=...
#
# The flags are those of table2_jft.sh. Runs that another table has made are only evaluated.
#
# The paper prints no numbers: SimCLR falls as more is masked, CAN peaks at a rate above 0.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

exec python "$CAN_ROOT/experiments/figure7_masking.py" --scale="${SCALE:-laptop}" "$@"
