#!/usr/bin/env bash
# Table 3: pre-training on IN-1K, by finetuning and by linear probe.
#
#   bash experiments/table3_in1k.sh [--flags]      SCALE=smoke|laptop|evening|overnight|gpu|paper, or --scale=...
#
# The flags are those of table2_jft.sh. Runs that another table has made are only evaluated.
#
# The paper, IN-1K top-1 in %, finetuned / linear probe: CAN ViT-B 1600 epochs 83.6 / 74.8, ViT-L 800 84.7 / 76.2;
# SimCLR ViT-L 800 83.4 / 73.9; MAE ViT-L 800 83.7 / 71.4; ViT-B from scratch 79.1.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

exec python "$CAN_ROOT/experiments/table3_in1k.py" --scale="${SCALE:-laptop}" "$@"
