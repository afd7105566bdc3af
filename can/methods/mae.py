"""MAE: masked autoencoding of one view (He et al., 2022)."""

from __future__ import annotations

from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from can import objectives
from can.config import MethodConfig, ModelConfig
from can.methods.method import Batch, Inputs, Loss, Method, rows_of
from can.models import Decoder
from can.views import num_visible, patchify, random_order, shuffle


class MAE(Method):
    """Encodes the visible patches, decodes all, is scored on the masked ones."""

    num_views = 1

    def __init__(self, model: ModelConfig, method: MethodConfig, *, rngs: nnx.Rngs, num_classes: int = 0):
        super().__init__(model, method, rngs=rngs)
        self.num_visible = num_visible(model.num_patches, method.mask_rate)
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
