#!/usr/bin/env bash
# Figures 2 and 3: what CAN makes of real images: views, masks and noise, a reconstruction, predicted noise.
#
#   bash experiments/figure2_method.sh [--flags]      SCALE=smoke|laptop|evening|overnight|gpu|paper, or --scale=...
#
# The flags are those of table2_jft.sh. Runs that another table has made are only evaluated.
#
# The paper draws its method; here it is drawn of test images and of a trained run.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

exec python "$CAN_ROOT/experiments/figure2_method.py" --scale="${SCALE:-laptop}" "$@"
