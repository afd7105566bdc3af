"""What `python experiments/pretrain.py` finds under the name `experiments`: the package of the script's own checkout.

Python looks for a script's imports in the script's folder first, so this file, which each folder of scripts has, comes
before any `experiments` that is installed. `experiments.harness.environment`, which a script imports first, does the
rest.
"""

from __future__ import annotations

from pathlib import Path

__path__ = [str(Path(__file__).resolve().parent)]
