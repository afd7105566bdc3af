"""Settings of JAX that would make other numbers of the same run: they are fixed before JAX is imported.

What a user may have a reason to choose (the precision of products, flags of XLA) is kept, and is a part of what a run
is: see `can.runs.numerics`.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

FIXED = {
    "JAX_ENABLE_X64": "0",
    "JAX_THREEFRY_PARTITIONABLE": "1",
    "JAX_DEFAULT_PRNG_IMPL": "threefry2x32",
    "JAX_NUMPY_DTYPE_PROMOTION": "standard",
    "JAX_RANDOM_SEED_OFFSET": "0",
    "JAX_SOFTMAX_CUSTOM_JVP": "0",
    "JAX_USE_DIRECT_LINEARIZE": "1",
    "JAX_DISABLE_JIT": "0",
}
_MEANS = dict.fromkeys(("", "0", "n", "no", "f", "false", "off"), "0") | dict.fromkeys(
    ("1", "y", "yes", "t", "true", "on"), "1"
)


def fix(environ: MutableMapping[str, str] = os.environ) -> list[str]:
    """Sets the variables; returns those that said something else, as `NAME=value`."""
    other = [
        f"{name}={environ[name]}"
        for name, value in FIXED.items()
        if name in environ and _MEANS.get(environ[name].lower(), environ[name]) != value
    ]
    environ.update(FIXED)
    return other
