"""What of a run's surroundings changes its numbers, where it is not as usual: a part of what the run is.

The number and kind of processors is none of it: sums round otherwise there, and provenance says which they were.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from can.errors import ConfigError, DataError
from can.runs.name import differences
from can.system.files import read_json, write_json
from can.system.surroundings import FIXED

# Flags of XLA that say where something runs, or what is written down of it.
_NO_NUMBERS = ("--xla_force_host_platform_device_count", "--xla_dump", "--xla_gpu_cuda_data_dir", "--xla_hlo_profile")
_VARIABLES = ("JAX_DISABLE_MOST_OPTIMIZATIONS", "NVIDIA_TF32_OVERRIDE")
_USUAL = {"0": False, "1": True}


def numerics() -> dict[str, str]:
    """Each setting that is not as usual, by name: those of `method_of_numbers`, flags of XLA and variables."""
    flags = [flag for flag in shlex.split(os.environ.get("XLA_FLAGS", "")) if not flag.startswith(_NO_NUMBERS)]
    found = {"XLA_FLAGS": " ".join(sorted(flags))} | {name: os.environ.get(name, "") for name in _VARIABLES}
    return method_of_numbers() | {name: value for name, value in found.items() if value}


def method_of_numbers() -> dict[str, str]:
    """JAX's own settings that are not as usual: they give other numbers, not only other roundings."""
    usual: dict[str, Any] = {name.lower(): _USUAL.get(value, value) for name, value in FIXED.items()}
    usual |= {"jax_random_seed_offset": 0, "jax_default_matmul_precision": None}
    now = {name: getattr(jax.config, name) for name in usual}
    return {name: str(value) for name, value in now.items() if value != usual[name]}


def of_method(recorded: Mapping[str, str]) -> dict[str, str]:
    """The recorded settings that `method_of_numbers` would tell of."""
    return {name: value for name, value in recorded.items() if name.startswith("jax_")}


def check_same(path: Path, begun: bool) -> None:
    """Keeps the settings of a training that begins in a file; of one that goes on, compares them with it.

    A training that an older version began has none. Raises ConfigError if they differ, DataError if the file is
    damaged.
    """
    now = numerics()
    if begun and path.exists():
        there = read_json(path)
        if not isinstance(there, dict):
            raise DataError(f"{path} is damaged: start the run anew with --force=train")
        if lines := differences(there, now):
            raise ConfigError(
                f"{path.parent.name} was begun under settings that make other numbers:\n{lines}\n"
                "set them as they were, or pass --force=train to start anew"
            )
    write_json(path, now)
