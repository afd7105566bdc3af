"""Where an encoder looks: the attention of its last block, head by head."""

from __future__ import annotations

import math
from functools import partial

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, UInt8

from can.augment import eval_view
from can.errors import ConfigError
from can.evals.encoder import Encoder

Maps = Float[np.ndarray, "n heads grid grid"]


def attention_of(encoder: Encoder, images: UInt8[np.ndarray, "n size size 3"]) -> Maps:
    """The share of the last block's attention that each patch gets, by head; shares of all patches sum to 1.

    It is the attention of the token that is the feature; where the feature is the mean over patches, the mean attention
    of all of them. What tokens before the patches get (cls, registers) is left out.

    Raises ConfigError for an encoder without attention.
    """
    if encoder.model is None:
        raise ConfigError("raw pixels have no attention: pass a run, or weights, of a ViT")
    shares = np.asarray(_attention(encoder.graphdef, encoder.params, images))
    grid = math.isqrt(shares.shape[-1])
    return shares.reshape(*shares.shape[:2], grid, grid)


@partial(jax.jit, static_argnums=0)
def _attention(graphdef: nnx.GraphDef, params: nnx.State, images: Array) -> Float[Array, "n heads patches"]:
    model = nnx.merge(graphdef, params)
    weights, feature = model.attention(eval_view(images))
    first = model.prefix_tokens
    asked = weights[:, :, first:].mean(2) if feature is None else weights[:, :, feature]
    of_patches = asked[:, :, first:]
    return of_patches / of_patches.sum(-1, keepdims=True)
