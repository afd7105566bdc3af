"""SimMIM: masked patches become a learned token in the encoder's input and are predicted by one linear layer."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from can import objectives
from can.config import MethodSettings, ModelConfig
from can.errors import ConfigError
from can.fields import Count, Share
from can.methods.method import Batch, Loss, Method, Metrics, rows_of
from can.methods.shown import Picture, masked_and_filled
from can.models.transformer import dense
from can.views import hidden_of, patchify, shuffle, unit_order


@dataclass(frozen=True)
class SimMIMSettings(MethodSettings):
    """Masking (Xie et al., 2022, Sec. 3.2)."""

    name: str = field(default="simmim", init=False)
    mask_rate: Share = 0.6  # share of units, rounded up
    mask_unit: Count = 2  # patches a side that are masked together: 32 pixels of 16 each


class WholeView(NamedTuple):
    """All patches of each image, and an order of them of which those behind the first T' are masked."""

    patches: Float[Array, "rows tokens patch_dim"]
    order: Int[Array, "rows tokens"]


class SimMIM(Method):
    """Absolute error of the masked patches' pixels (Xie et al., 2022)."""

    name = "simmim"
    Settings = SimMIMSettings
    augmentation = "mae"  # crop and flip
    num_views = 1
    settings: SimMIMSettings

    def __init__(self, config: ModelConfig, settings: SimMIMSettings, *, rngs: nnx.Rngs, num_classes: int = 0):
        super().__init__(config, settings, rngs=rngs)
        unit, side = settings.mask_unit, config.image_size // config.patch_size
        if side % unit:
            raise ConfigError(f"mask_unit {unit} does not divide the {side}x{side} patches of an image: pass another")
        units = (side // unit) ** 2
        masked = math.ceil(units * settings.mask_rate - 1e-6)  # forgives 0.3 * 10 = 3.000...4
        if not 0 < masked < units:
            raise ConfigError(
                f"mask_rate {settings.mask_rate:g} hides {masked} of {units} units of {unit}x{unit} patches, and there "
                "must be hidden and visible ones: pass another --mask_rate, or a smaller --mask_unit"
            )
        self.num_visible = config.num_patches - masked * unit**2
        self.mask_token = nnx.Param(nnx.initializers.truncated_normal(0.02)(rngs.params(), (config.width,)))
        self.predict = dense(config.width, config.patch_size**2 * 3, dtype=config.dtype, rngs=rngs)

    def inputs(self, batch: Batch, key: PRNGKeyArray) -> WholeView:
        """The patches of a view, and which are masked."""
        patches = patchify(rows_of(batch["views"]), self.config.patch_size)  # [B, T, P]
        return WholeView(patches, unit_order(key, len(patches), self.config.num_patches, self.settings.mask_unit))

    def encode(self, view: WholeView) -> Float[Array, "rows encoded width"]:
        """The encoder's tokens of all places; it sees of the masked ones where they are."""
        hidden = hidden_of(view.order, self.num_visible)
        return self.encoder(view.patches, hidden=hidden, mask_token=self.mask_token[...])

    def each_image(self, view: WholeView) -> tuple[None, Metrics]:
        """Sec. 3.3."""
        masked = shuffle(view.patches, view.order[:, self.num_visible :])
        return None, {"reconstruct": objectives.masked_pixels(masked, self.predicted(view))}

    def predicted(self, view: WholeView) -> Float[Array, "rows masked patch_dim"]:
        """x_hat, the masked patches, in the order's."""
        places = view.order[:, self.num_visible :]
        tokens = shuffle(self.encode(view)[:, int(self.config.cls_token) :], places)
        return self.predict(tokens).astype(jnp.float32)

    def whole_batch(self, features: None, means: Metrics) -> Loss:
        """The error alone."""
        return means["reconstruct"], {}

    def shows(self, patches: Float[Array, "rows tokens patch_dim"], key: PRNGKeyArray) -> list[Picture]:
        """The visible patches and the reconstruction."""
        order = unit_order(key, len(patches), self.config.num_patches, self.settings.mask_unit)
        visible = shuffle(patches, order[:, : self.num_visible])
        return masked_and_filled(patches, visible, order, self.predicted(WholeView(patches, order)))
