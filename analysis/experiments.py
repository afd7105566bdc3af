"""What `python analysis/make_figure7.py` finds under the name `experiments`: see experiments/experiments.py."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])
__path__ = [f"{sys.path[0]}/experiments"]
