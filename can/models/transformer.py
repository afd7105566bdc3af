"""Pre-norm transformer blocks, stacked and scanned over depth; the encoder and the decoder are built of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from can.models.attention import attention
from can.models.gelu import gelu
from can.models.narrowing import NarrowingLinear

PyTree = Any

UNROLLED_DEPTH = 4  # stacks of at most so many blocks are written out, not scanned (see Transformer)
REMAT_POLICIES = {
    "dense": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "block": jax.checkpoint_policies.nothing_saveable,
}
LAYER_NORM_EPS = 1e-6  # what timm's and He et al.'s checkpoints need
# The exact (erf) GELU is the paper's; public encoders have the others.
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": gelu,
    "gelu_tanh": partial(jax.nn.gelu, approximate=True),
    "quick_gelu": lambda x: x * jax.nn.sigmoid(1.702 * x),  # CLIP's
}
glorot_uniform = nnx.initializers.xavier_uniform()  # paper, App. C: for all dense layers


def dense(
    in_features: int,
    out_features: int,
    *,
    dtype: str,
    rngs: nnx.Rngs,
    bias: bool = True,
    precision: jax.lax.Precision | None = None,
) -> nnx.Linear:
    """A linear layer with the paper's initialisation; computes in `dtype`, stores float32."""
    return nnx.Linear(
        in_features,
        out_features,
        use_bias=bias,
        kernel_init=glorot_uniform,
        dtype=dtype,
        precision=precision,
        rngs=rngs,
    )


def layer_norm(width: int, *, dtype: str, rngs: nnx.Rngs, eps: float = LAYER_NORM_EPS) -> nnx.LayerNorm:
    """Layer normalisation over the last axis; statistics are computed in float32 whatever `dtype` is."""
    return nnx.LayerNorm(width, epsilon=eps, dtype=dtype, rngs=rngs)


class Block(nnx.Module):
    """Self-attention and MLP, each on layer-normalised input and added to its residual (Dosovitskiy et al., 2021).

    Works on a flat `[B*T, D]` stream: a weight gradient then contracts one axis, not two, which XLA's CPU backend
    turns into one matrix product. Only attention needs the batch axis back.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        mlp_dim: int,
        *,
        dtype: str,
        rngs: nnx.Rngs,
        eps: float = LAYER_NORM_EPS,
        activation: str = "gelu",
    ):
        self.heads, self.activation = heads, activation
        self.norm1 = layer_norm(width, dtype=dtype, rngs=rngs, eps=eps)
        self.qkv = nnx.Linear(width, 3 * width, kernel_init=_glorot_qkv, dtype=dtype, rngs=rngs)
        self.attention_out = dense(width, width, dtype=dtype, rngs=rngs)
        self.norm2 = layer_norm(width, dtype=dtype, rngs=rngs, eps=eps)
        self.mlp_in = dense(width, mlp_dim, dtype=dtype, rngs=rngs)
        self.mlp_out = NarrowingLinear(mlp_dim, width, dtype=dtype, rngs=rngs)

    def attention(self, x: Float[Array, "rows width"], batch: int) -> Float[Array, "rows width"]:
        """Multi-head self-attention among the tokens of each of `batch` images."""
        out = attention(*self._heads(x, batch))
        out = jnp.moveaxis(out.reshape(batch, self.heads, -1, out.shape[-1]), 1, 2)  # [B, T, H, D/H]
        return self.attention_out(out.reshape(x.shape))

    def attention_weights(self, x: Float[Array, "rows width"], batch: int) -> Float[Array, "batch heads tokens tokens"]:
        """How much each token looks at each other one, by head: rows of sum 1."""
        q, k, _ = self._heads(self.norm1(x), batch)
        scores = jnp.einsum("htd,hkd->htk", q, k, preferred_element_type=jnp.float32) / math.sqrt(q.shape[-1])
        return jax.nn.softmax(scores).reshape(batch, self.heads, *scores.shape[1:])

    def _heads(self, x: Float[Array, "rows width"], batch: int) -> list[Float[Array, "heads tokens width_of_head"]]:
        """Queries, keys and values, of each head of each image."""
        width = x.shape[-1] // self.heads
        qkv = self.qkv(x).reshape(batch, -1, 3, self.heads, width)  # [B, T, 3, H, D/H]
        # Split first: of one transposed array, XLA's CPU backend would copy each third once more.
        heads_first = (jnp.swapaxes(jnp.squeeze(part, 2), 1, 2) for part in jnp.split(qkv, 3, axis=2))
        return [part.reshape(batch * self.heads, -1, width) for part in heads_first]

    def __call__(
        self,
        x: Float[Array, "rows width"],
        batch: int,
        keep: Float[Array, "2 batch"] | None = None,
        dropout: float = 0.0,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "rows width"]:
        """The block's output.

        Args:
          x: the tokens of all images.
          batch: the number of images.
          keep: scales each image's two residual branches, stochastic depth (Huang et al., 2016); None keeps all.
          dropout: rate of the dropout behind attention, behind GELU and behind the MLP, where Dosovitskiy et al. (2021)
            have it.
          key: says what is dropped; None drops nothing.
        """
        keys = [None] * 3 if key is None else jax.random.split(key, 3)
        attended = drop_entries(self.attention(self.norm1(x), batch), dropout, keys[0])
        x = x + (attended if keep is None else _scale_images(attended, keep[0]))
        hidden = drop_entries(ACTIVATIONS[self.activation](self.mlp_in(self.norm2(x))), dropout, keys[1])
        mixed = drop_entries(self.mlp_out(hidden), dropout, keys[2])
        return x + (mixed if keep is None else _scale_images(mixed, keep[1]))


class Transformer(nnx.Module):
    """`depth` blocks and a final layer norm. Parameters are stacked over depth, `[depth, ...]`, and scanned.

    A scan compiles `unroll` blocks, whatever the depth. But it copies what the backward pass needs of each block into
    one array of all blocks, and out of it again: on a CPU, a sixth of a small model's step. So short stacks are written
    out, and those that `unroll` takes whole.

    `remat` says what the backward pass computes again instead of keeping it:

    - "none": nothing.
    - "dense": all but the outputs of the dense layers. This is most of the memory for little arithmetic.
    - "block": everything. Memory then grows by one `[B*T, D]` array a block.
    """

    def __init__(
        self,
        depth: int,
        width: int,
        heads: int,
        mlp_dim: int,
        *,
        dtype: str,
        remat: str,
        unroll: int,
        rngs: nnx.Rngs,
        eps: float = LAYER_NORM_EPS,
        activation: str = "gelu",
    ):
        self.depth, self.remat, self.unroll = depth, remat, unroll

        @nnx.split_rngs(splits=depth)
        @nnx.vmap(in_axes=0, out_axes=0)
        def stack(rngs: nnx.Rngs) -> Block:
            return Block(width, heads, mlp_dim, dtype=dtype, rngs=rngs, eps=eps, activation=activation)

        self.blocks = stack(rngs)
        self.norm = layer_norm(width, dtype=dtype, rngs=rngs, eps=eps)

    def __call__(
        self,
        x: Float[Array, "batch tokens width"],
        *,
        drop_path: float = 0.0,
        dropout: float = 0.0,
        key: PRNGKeyArray | None = None,
        final_norm: bool = True,
    ) -> Float[Array, "batch tokens width"]:
        """Encodes the tokens; without the `final_norm`, as they leave the last block.

        `drop_path` is the drop rate of the last block's branches, rising linearly from 0, and `dropout` that of single
        entries, the same in all blocks and of the input. Either needs a `key`, and equal keys drop the same.
        """
        batch, shape = x.shape[0], x.shape
        graphdef, stacked = nnx.split(self.blocks)
        keep = block_keys = None
        path_key = entries_key = key
        if drop_path > 0 and dropout > 0:
            path_key, entries_key = jax.random.split(_needed(key, "dropout"))
        if drop_path > 0:
            keep = _stochastic_depth(path_key, drop_path, self.depth, batch)
        if dropout > 0:
            input_key, blocks_key = jax.random.split(_needed(entries_key, "dropout"))
            x = drop_entries(x, dropout, input_key)
            block_keys = jax.random.split(blocks_key, self.depth)

        def body(x: Array, layer: tuple) -> tuple[Array, None]:
            params, layer_keep, layer_key = layer
            return nnx.merge(graphdef, params)(x, batch, layer_keep, dropout, layer_key), None

        scanned = self.depth > max(self.unroll, UNROLLED_DEPTH)
        if self.remat != "none":
            # In a stack that is written out, the compiler would merge the second computation with the first.
            body = jax.checkpoint(body, policy=REMAT_POLICIES[self.remat], prevent_cse=not scanned)
        x = x.reshape(-1, shape[-1])
        if not scanned:
            for layer, (params, layer_keep) in enumerate(_unstack((stacked, keep), self.depth)):
                x, _ = body(x, (params, layer_keep, None if block_keys is None else block_keys[layer]))
        else:
            x, _ = jax.lax.scan(body, x, (stacked, keep, block_keys), unroll=self.unroll)
        return (self.norm(x) if final_norm else x).reshape(shape)

    def last_attention(self, x: Float[Array, "batch tokens width"]) -> Float[Array, "batch heads tokens tokens"]:
        """How much each token of the last block looks at each other one, by head."""
        batch = x.shape[0]
        graphdef, stacked = nnx.split(self.blocks)
        *before, last = [nnx.merge(graphdef, params) for params in _unstack(stacked, self.depth)]
        x = x.reshape(-1, x.shape[-1])
        for block in before:
            x = block(x, batch)
        return last.attention_weights(x, batch)


def _unstack(tree: PyTree, depth: int) -> list[PyTree]:
    """The tree of each of `depth` layers.

    The gradient of a split is one concatenation. That of indexing would be a sum of `depth` arrays as large as the
    whole, each of which is zero but for one layer.
    """
    leaves, structure = jax.tree.flatten(tree)
    split = [[jnp.squeeze(part, 0) for part in jax.lax.split(leaf, (1,) * depth)] for leaf in leaves]
    return [jax.tree.unflatten(structure, layer) for layer in zip(*split, strict=True)]


def drop_entries(x: Float[Array, "*shape"], rate: float, key: PRNGKeyArray | None) -> Float[Array, "*shape"]:
    """Dropout: each entry is 0 with probability `rate`, and the others grow so that the mean stays.

    Without a key, nothing is dropped.
    """
    if key is None:
        return x
    return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0)


def _glorot_qkv(key: PRNGKeyArray, shape: tuple[int, int], dtype: DTypeLike) -> Array:
    """Glorot bounds of three separate [D, D] projections: the fused [D, 3D] matrix would shrink them by 2**-0.5."""
    width = shape[0]
    return jnp.concatenate([glorot_uniform(k, (width, width), dtype) for k in jax.random.split(key, 3)], axis=1)


def _stochastic_depth(key: PRNGKeyArray | None, rate: float, depth: int, batch: int) -> Float[Array, "depth 2 batch"]:
    """Per block, branch and image: 0, or 1/(1 - rate) so that the expectation stays 1."""
    survive = 1.0 - jnp.linspace(0.0, rate, depth)[:, None, None]
    return jax.random.bernoulli(_needed(key, "drop_path"), survive, (depth, 2, batch)) / survive


def _needed(key: PRNGKeyArray | None, what: str) -> PRNGKeyArray:
    if key is None:
        raise ValueError(f"{what} > 0 needs a key")
    return key


def _scale_images(x: Float[Array, "rows width"], scale: Float[Array, " batch"]) -> Float[Array, "rows width"]:
    rows = jnp.repeat(scale, x.shape[0] // scale.shape[0], total_repeat_length=x.shape[0])
    return x * rows[:, None].astype(x.dtype)
