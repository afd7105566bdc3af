#!/usr/bin/env bash
# Every check, as CI runs them: lint, format, types, tests.
#
#   bash tests/run.sh [pytest arguments]      for example: bash tests/run.sh -k linear_probe
#   bash tests/run.sh -n 0 --pdb              in one process
#
# Tests run in one process a core, at most four; worksteal gives each a row of neighbours, which share fixtures.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../experiments/setup.sh"
# The constraints keep the run-time pins where a peer would move them.
can_install peers "requirements-peers.txt requirements-gcs.txt requirements-sources.txt requirements.txt" \
    -r requirements-peers.txt -r requirements-gcs.txt -r requirements-sources.txt -c requirements.txt
can_install peers-alone requirements-peers-alone.txt --no-deps -r requirements-peers-alone.txt

cd "$CAN_ROOT"
python -m ruff check .
python -m ruff format --check .
python -m mypy
exec python -m pytest -n auto --maxprocesses 4 --dist worksteal "$@"
