#!/usr/bin/env bash
# Table 4: final losses of CAN, SimCLR and MAE, all with half of the patches masked (ViT-B, 100 epochs of IN-1K).
#
#   bash experiments/table4_complementarity.sh [--flags]      SCALE=smoke|laptop|evening|overnight|gpu|paper, or --scale=...
#
# The flags are those of table2_jft.sh. Runs that another table has made are only evaluated.
#
# The paper: InfoNCE 9.157 for SimCLR, 9.143 for CAN; reconstruction .1658 for MAE, .1633 for CAN.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

exec python "$CAN_ROOT/experiments/table4_complementarity.py" --scale="${SCALE:-laptop}" "$@"
