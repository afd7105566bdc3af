#!/usr/bin/env bash
# Finetuning, few-shot classification and robustness of Table 2's encoders at their longest schedules.
#
#   bash experiments/transfer.sh [--flags]      SCALE=smoke|laptop|overnight|gpu|paper, or --scale=...
#
# The flags are those of table2_jft.sh. Encoders that are not on this machine are pre-trained first; those of Table 2 are
# only evaluated. The few-shot sets are fetched once.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

exec python "$CAN_ROOT/experiments/transfer.py" --scale="${SCALE:-laptop}" "$@"
