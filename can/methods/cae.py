"""CAE: the encoder's tokens of masked patches are regressed from those of visible ones, and decoded to codes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from can import objectives
from can.config import ModelConfig
from can.fields import DepthOrZero, NotNegative, Share
from can.methods.method import Loss, Metrics, floats, ints
from can.methods.tokens import TokenisedView, TokenMethod, TokenSettings
from can.models.positions import sincos_positions
from can.models.regressor import Regressor
from can.models.transformer import Transformer, dense
from can.views import shuffle


@dataclass(frozen=True)
class CAESettings(TokenSettings):
    """The two parts behind the encoder (Chen et al., 2024)."""

    name: str = field(default="cae", init=False)
    mask_rate: Share = 0.5
    regressor_depth: DepthOrZero = 4  # blocks of the regressor
    token_decoder_depth: DepthOrZero = 4  # blocks of the decoder of codes
    alignment_weight: NotNegative = 2.0  # lambda, of the alignment in the loss


class CAE(TokenMethod):
    """Cross-entropy of the masked patches' tokens, and the error of the encoder's own tokens of them, predicted."""

    name = "cae"
    Settings = CAESettings
    augmentation = "mae"  # crop and flip, no colours
    settings: CAESettings

    def __init__(self, config: ModelConfig, settings: CAESettings, *, rngs: nnx.Rngs, num_classes: int = 0):
        super().__init__(config, settings, rngs=rngs)
        size = (config.width, config.heads, config.mlp_dim)
        self.regressor = Regressor(settings.regressor_depth, *size, dtype=config.dtype, rngs=rngs)
        self.token_decoder = Transformer(
            settings.token_decoder_depth,
            *size,
            dtype=config.dtype,
            remat=config.remat,
            unroll=config.scan_unroll,
            rngs=rngs,
        )
        self.predict = dense(config.width, settings.codes, dtype=config.dtype, rngs=rngs)

    def encode(
        self, patches: Float[Array, "rows tokens patch_dim"], places: Int[Array, "rows chosen"]
    ) -> Float[Array, "rows chosen width"]:
        """The encoder's tokens of some patches alone, without its cls token."""
        return self.encoder(shuffle(patches, places), places)[:, int(self.config.cls_token) :]

    def each_image(self, view: TokenisedView) -> tuple[None, Metrics]:
        """Both losses."""
        shown, masked = view.order[:, : self.num_visible], view.order[:, self.num_visible :]
        z_v, z_m = self.encode(view.patches, shown), self.encode(view.patches, masked)
        grid = self.config.image_size // self.config.patch_size
        positions = jnp.asarray(sincos_positions(grid, self.config.width), z_v.dtype)
        z_hat = self.regressor(z_v, positions[masked], positions[shown])  # [B, T - T', D]
        logits = self.predict(self.token_decoder(z_hat + positions[masked]))
        return None, {
            "token": objectives.token_prediction(logits, view.tokens),
            "alignment": objectives.alignment(z_hat, z_m),
            "accuracy": objectives.hit_rate(logits, view.tokens),
        }

    def whole_batch(self, features: None, means: Metrics) -> Loss:
        """The weighted sum."""
        return means["token"] + self.settings.alignment_weight * means["alignment"], {}

    def calls(self, rows: int) -> dict[str, tuple[nnx.Module, tuple[Any, ...]]]:
        """The encoder of visible patches, and of the masked ones as the target; what is behind it."""
        config, shown = self.config, self.num_visible
        masked, patch_dim = config.num_patches - shown, config.patch_size**2 * 3
        of_masked, of_shown = (floats(rows, tokens, config.width) for tokens in (masked, shown))
        return {
            "encoder": (self.encoder, (floats(rows, shown, patch_dim), ints(rows, shown))),
            "target": (self.encoder, (floats(rows, masked, patch_dim), ints(rows, masked))),
            "regressor": (self.regressor, (of_shown, of_masked, of_shown)),
            "decoder": (self.token_decoder, (of_masked,)),
        }
