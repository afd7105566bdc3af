#!/usr/bin/env bash
# Figures 5 and 11-15: few-shot classification on nine data sets, which are fetched once.
#
#   bash experiments/figure5_few_shot.sh [--flags]      SCALE=smoke|laptop|evening|overnight|gpu|paper, or --scale=...
#
# The flags are those of table2_jft.sh. Runs that another table has made are only evaluated.
#
# The paper prints no numbers but counts: after IN-1K pre-training CAN wins 8 of 9 sets with 10 shots (App. A).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

exec python "$CAN_ROOT/experiments/figure5_few_shot.py" --scale="${SCALE:-laptop}" "$@"
