"""MAE: masked autoencoding of one view (He et al., 2022)."""

from __future__ import annotations

from dataclasses import dataclass, field

from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from can import objectives
from can.config import MethodSettings, ModelConfig
from can.errors import ConfigError
from can.fields import Share
from can.methods.method import Batch, Inputs, Loss, Method, rows_of
from can.models import Decoder
from can.views import num_visible, patchify, random_order, shuffle


@dataclass(frozen=True)
class MAESettings(MethodSettings):
    """Masking and the target of the reconstruction."""

    name: str = field(default="mae", init=False)
    mask_rate: Share = 0.75  # of patches, hidden from the encoder
    norm_pix: bool = False  # reconstruct per-patch normalised pixels; He et al.'s default, the paper's Table 4 has not


class MAE(Method):
    """Encodes the visible patches, decodes all, is scored on the masked ones."""

    name = "mae"
    Settings = MAESettings
    augmentation = "mae"  # the paper says that it takes He et al.'s settings
    num_views = 1
    method: MAESettings

    def __init__(self, model: ModelConfig, method: MAESettings, *, rngs: nnx.Rngs, num_classes: int = 0):
        super().__init__(model, method, rngs=rngs)
        tokens = model.num_patches
        self.num_visible = num_visible(tokens, method.mask_rate)
        if self.num_visible == tokens:
            raise ConfigError(
                f"mask_rate {method.mask_rate:g} hides none of {tokens} patches, and mae learns from nothing else: "
                f"pass a --mask_rate between {1 / tokens:.3g} and {1 - 1 / tokens:.3g}"
            )
        self.decoder = Decoder(model, rngs=rngs)

    def inputs(self, batch: Batch, key: PRNGKeyArray) -> Inputs:
        """Patches in a random order, of however many views are given."""
        patches = patchify(rows_of(batch["views"]), self.model.patch_size)  # [B, T, P]
        return self.inputs_in_order(patches, random_order(key, *patches.shape[:2]))

    def inputs_in_order(
        self, patches: Float[Array, "rows tokens patch_dim"], order: Int[Array, "rows tokens"]
    ) -> Inputs:
        """The inputs for a given order of the patches, the first T' of which are visible."""
        shuffled = shuffle(patches, order)
        return {
            "visible": shuffled[:, : self.num_visible],
            "places": order[:, : self.num_visible],
            "masked": shuffled[:, self.num_visible :],
            "order": order,
        }

    def loss_in_order(self, patches: Float[Array, "rows tokens patch_dim"], order: Int[Array, "rows tokens"]) -> Loss:
        """The loss for a given order of the patches."""
        return self.loss_of(self.inputs_in_order(patches, order))

    def image_loss(self, tokens: Float[Array, "rows encoded width"], inputs: Inputs) -> Loss:
        """Eq. 2."""
        predicted = self.decoder(tokens, inputs["order"])[:, self.num_visible :]
        loss = objectives.reconstruction(inputs["masked"], predicted, self.method.norm_pix)
        return loss, {"reconstruct": loss}
