"""MAE: masked autoencoding of one view (He et al., 2022)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from can import objectives
from can.config import MethodSettings, ModelConfig
from can.errors import ConfigError
from can.fields import Share
from can.methods.method import Batch, Loss, Method, Metrics, Shown, floats, ints, rows_of
from can.methods.shown import Picture, masked_and_filled
from can.models import Decoder
from can.views import num_visible, patchify, random_order, shuffle


@dataclass(frozen=True)
class MAESettings(MethodSettings):
    """Masking and the target of the reconstruction."""

    name: str = field(default="mae", init=False)
    mask_rate: Share = 0.75  # share of patches hidden from the encoder
    norm_pix: bool = False  # reconstruct per-patch normalised pixels; He et al.'s default, the paper's Table 4 has not


class MaskedView(NamedTuple):
    """A view of each image; its patches in a random order, T' visible ones first."""

    visible: Float[Array, "rows visible patch_dim"]
    order: Int[Array, "rows tokens"]  # where the patches stand in the image
    masked: Float[Array, "rows masked patch_dim"]


class MAE(Method):
    """Encodes the visible patches, decodes all, is scored on the masked ones."""

    name = "mae"
    Settings = MAESettings
    augmentation = "mae"  # the paper says that it takes He et al.'s settings
    num_views = 1
    settings: MAESettings

    def __init__(self, config: ModelConfig, settings: MAESettings, *, rngs: nnx.Rngs, num_classes: int = 0):
        super().__init__(config, settings, rngs=rngs)
        tokens = config.num_patches
        self.num_visible = num_visible(tokens, settings.mask_rate)
        if self.num_visible == tokens:
            raise ConfigError(
                f"mask_rate {settings.mask_rate:g} hides none of {tokens} patches, and mae learns from nothing else: "
                f"pass a --mask_rate between {1 / tokens:.3g} and {1 - 1 / tokens:.3g}"
            )
        self.decoder = Decoder(config, rngs=rngs)

    def inputs(self, batch: Batch, key: PRNGKeyArray) -> MaskedView:
        """Patches in a random order, of however many views are given."""
        patches = patchify(rows_of(batch["views"]), self.config.patch_size)  # [B, T, P]
        return self.inputs_in_order(patches, random_order(key, *patches.shape[:2]))

    def inputs_in_order(
        self, patches: Float[Array, "rows tokens patch_dim"], order: Int[Array, "rows tokens"]
    ) -> MaskedView:
        """The inputs for a given order of the patches, the first T' of which are visible."""
        shuffled = shuffle(patches, order)
        return MaskedView(shuffled[:, : self.num_visible], order, shuffled[:, self.num_visible :])

    def each_image(self, view: MaskedView) -> tuple[None, Metrics]:
        """Eq. 2."""
        return None, {"reconstruct": objectives.reconstruction(view.masked, self.predict(view), self.settings.norm_pix)}

    def predict(self, view: MaskedView) -> Float[Array, "rows masked patch_dim"]:
        """x_hat, the masked patches."""
        predicted = self.decoder(self.encoder(view.visible, view.order[:, : self.num_visible]), view.order)
        return predicted[:, self.num_visible :]

    def whole_batch(self, features: None, means: Metrics) -> Loss:
        """The reconstruction alone."""
        return means["reconstruct"], {}

    def comparable_losses(self, shown: Shown) -> Metrics:
        """The reconstruction, unless it is of normalised patches."""
        if self.settings.norm_pix or shown.visible == shown.order.shape[1]:
            return {}
        tokens = self.encoder(shown.shuffled[:, : shown.visible], shown.order[:, : shown.visible])
        predicted = self.decoder(tokens, shown.order)[:, shown.visible :]
        return {"reconstruct": objectives.reconstruction(shown.shuffled[:, shown.visible :], predicted)}

    def shows(self, patches: Float[Array, "rows tokens patch_dim"], key: PRNGKeyArray) -> list[Picture]:
        """The visible patches and the reconstruction."""
        view = self.inputs_in_order(patches, random_order(key, *patches.shape[:2]))
        norm_pix = self.settings.norm_pix
        return masked_and_filled(patches, view.visible, view.order, self.predict(view), norm_pix=norm_pix)

    def calls(self, rows: int) -> dict[str, tuple[nnx.Module, tuple[Any, ...]]]:
        """Encoder and decoder."""
        config, visible = self.config, self.num_visible
        encoded = floats(rows, visible + config.cls_token, config.width)
        return {
            "encoder": (self.encoder, (floats(rows, visible, config.patch_size**2 * 3), ints(rows, visible))),
            "decoder": (self.decoder, (encoded, ints(rows, config.num_patches))),
        }
