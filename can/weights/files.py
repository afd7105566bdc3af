"""The files that weights come in, as arrays by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from can.errors import ConfigError, first_line
from can.weights.described import Described, read_described


def read_weights(path: Path) -> tuple[dict[str, Any], Described]:
    """The weights in a file, and what the files beside it say of the model (nothing if there are none).

    Args:
      path: a .safetensors file, a folder of transformers that has one, or (with PyTorch) a .pth, .pt or .bin file.

    Raises:
      ConfigError: the file is missing, damaged, or of another kind.
    """
    path = file_of(path)
    if not path.is_file():
        raise ConfigError(f"there is no file {path}: pass a .safetensors file, or a folder with model.safetensors")
    described = read_described(path)
    try:
        if path.suffix == ".safetensors":
            from safetensors import safe_open

            with safe_open(path, framework="flax") as file:
                return {name: np.asarray(file.get_tensor(name)) for name in file.keys()}, described  # noqa: SIM118
        if path.suffix in (".pth", ".pt", ".bin"):
            return _read_by_torch(path), described
    except ConfigError:
        raise
    except Exception as error:  # the readers raise whatever they happen upon
        first = first_line(error)
        raise ConfigError(f"{path} cannot be read ({first}): fetch it again") from error
    raise ConfigError(f"{path} is neither a .safetensors nor a .pth, .pt or .bin file: convert it")


def file_of(path: Path) -> Path:
    """The file itself, or the one in a folder of transformers."""
    return path / "model.safetensors" if path.is_dir() else path


def _read_by_torch(path: Path) -> dict[str, Any]:
    try:
        import torch
    except ImportError as error:
        raise ConfigError(
            f"{path} needs PyTorch to be read: pip install torch, or convert it to .safetensors"
        ) from error
    values = torch.load(path, map_location="cpu", weights_only=True)
    for outer in ("model", "state_dict", "teacher"):
        if isinstance(values, dict) and isinstance(values.get(outer), dict):
            values = values[outer]
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds no weights by name")
    return values
