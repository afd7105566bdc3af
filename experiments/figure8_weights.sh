#!/usr/bin/env bash
# Figure 8: CAN's contrastive weight, largest noise and denoising weight (ViT-B, 100 epochs of IN-1K, linear probe).
#
#   bash experiments/figure8_weights.sh [--flags]      SCALE=smoke|laptop|evening|overnight|gpu|paper, or --scale=...
#
# The flags are those of table2_jft.sh. Runs that another table has made are only evaluated.
#
# The paper prints no numbers but the best: a contrastive weight of .03 and a largest noise of .05.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

exec python "$CAN_ROOT/experiments/figure8_weights.py" --scale="${SCALE:-laptop}" "$@"
