"""What `python experiments/pretrain.py` finds under the name `experiments`: the package of the script's own checkout.

Python looks for a script's imports in the script's folder first, so this file comes before any `experiments`, `can` and
`analysis` that are installed, perhaps from another checkout, and works where none is.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)
__path__ = [f"{sys.path[0]}/experiments"]
