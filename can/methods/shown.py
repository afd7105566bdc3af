"""What a method can show of what it makes of an image, patch by patch: `Method.shows`."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from can.views import hidden_of, shuffle


class Picture(NamedTuple):
    """One picture of each image, as patches in their places."""

    title: str
    patches: Float[Array, "rows tokens patch_dim"]  # normalised pixels; of noise, in units of its level
    hidden: Bool[Array, "rows tokens"]  # patches that are not seen
    is_noise: bool = False


def masked_and_filled(
    patches: Float[Array, "rows tokens patch_dim"],
    seen: Float[Array, "rows visible patch_dim"],
    order: Int[Array, "rows tokens"],
    x_hat: Float[Array, "rows masked patch_dim"],
    *,
    norm_pix: bool = False,
) -> list[Picture]:
    """What the encoder sees, and the image with its masked patches as they are predicted.

    Args:
      patches: the image's, in their places.
      seen: the visible patches as the encoder sees them, in the order's.
      order: places of the patches, visible ones first.
      x_hat: the prediction of the others.
      norm_pix: it is of patches normalised by their own mean and deviation, which the picture then borrows.
    """
    visible = seen.shape[1]
    hidden, masked = hidden_of(order, visible), shuffle(patches, order)[:, visible:]
    seen_in_place = in_place(jnp.concatenate([seen, masked], axis=1), order)
    found = [Picture(f"visible:\n{visible} of {patches.shape[1]} patches", seen_in_place, hidden)]
    if not masked.shape[1]:
        return found
    title = "reconstruction"
    if norm_pix:
        title += ",\ncontrast given"
        deviation = jnp.sqrt(jnp.var(masked, axis=-1, keepdims=True, ddof=1) + 1e-6)
        x_hat = x_hat * deviation + jnp.mean(masked, axis=-1, keepdims=True)
    filled = in_place(jnp.concatenate([shuffle(patches, order)[:, :visible], x_hat], axis=1), order)
    return [*found, Picture(title, filled, jnp.zeros_like(hidden))]


def in_place(
    shuffled: Float[Array, "rows tokens patch_dim"], order: Int[Array, "rows tokens"]
) -> Float[Array, "rows tokens patch_dim"]:
    """The patches where they stand in the image, of patches in `order`."""
    return shuffle(shuffled, jnp.argsort(order, axis=1))
