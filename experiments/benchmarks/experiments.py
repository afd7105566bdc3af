"""What `python experiments/benchmarks/speed.py` finds under the name `experiments`: see experiments/experiments.py."""

from __future__ import annotations

from pathlib import Path

__path__ = [str(Path(__file__).resolve().parents[1])]
