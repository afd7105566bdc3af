"""What tells encoders apart: their parameters, and the settings that change what is computed with them."""

from __future__ import annotations

import hashlib

import jax
import numpy as np
from flax import nnx

from can.config import ModelConfig

# Of ModelConfig. Decoder and head never see an evaluation; remat and unrolling change only time and memory.
CHANGES_FEATURES = ("image_size", "patch_size", "width", "depth", "heads", "mlp_dim", "cls_token", "dtype")


def fingerprint_of(params: nnx.State, model: ModelConfig | None, image_size: int) -> str:
    """Hexadecimal sha256 of an encoder, or of a model around one: equal fingerprints mean equal outputs.

    Args:
      params: all that its outputs depend on, as arrays that this process can read.
      model: the encoder's settings; None for a module that has none.
      image_size: pixels a side of the images that it is given, which may differ from `model.image_size`.
    """
    names = getattr(model, "changes_features", CHANGES_FEATURES)
    settings = {name: getattr(model, name) for name in names} if model is not None else {}
    digest = hashlib.sha256(f"{settings} {image_size}".encode())
    for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        array = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
