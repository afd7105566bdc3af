#!/usr/bin/env bash
# Every table and figure: all that they need, each run once; then the tables, the figures and the scoreboard of claims.
#
#   bash experiments/all.sh [--flags]      SCALE=smoke|laptop|evening|overnight|gpu|paper, or --scale=...
#
# The flags are those of table2_jft.sh; --dry_run prints the plan with its cost.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

exec python "$CAN_ROOT/experiments/all.py" --scale="${SCALE:-laptop}" "$@"
