#!/usr/bin/env bash
# Table 2: linear probe of encoders pre-trained on uncurated images (JFT-300M in the paper).
#
#   bash experiments/table2_jft.sh [--flags]      SCALE=smoke|laptop|evening|overnight|gpu|paper, or --scale=...
#
#   --seeds=0,1,2      mean and standard deviation over seeds      --dry_run    the plan with its cost
#   --rows=can/vit_l   some rows only                              --jobs=1     one run after the other
#   --help             every other flag
#
# Time, for one seed: smoke a minute or two; laptop (the default) half an hour on two cores, set-up included;
# overnight nights on two cores (--rows=can/vit_l/5000: some rows); gpu days; paper a TPU or GPU pod. Finished rows are never run again.
#
# The paper, IN-1K top-1 in % of a linear probe after pre-training on JFT-300M:
#
#            ViT-B 800   ViT-L 800    1600    3000    5000 epochs
#   CAN         67.1        72.8      74.3    75.3    75.4
#   SimCLR      65.8        72.6      73.1            73.4
#   MAE                               50.5            64.1
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

exec python "$CAN_ROOT/experiments/table2_jft.py" --scale="${SCALE:-laptop}" "$@"
