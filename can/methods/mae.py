"""MAE: masked autoencoding of one view (He et al., 2022)."""

from __future__ import annotations

from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from can import objectives
from can.config import MethodConfig, ModelConfig
from can.methods.method import Batch, Method, Metrics
from can.models import Decoder
from can.views import num_visible, patchify, random_order, shuffle


class MAE(Method):
    """Encodes the visible patches, decodes all, is scored on the masked ones."""

    num_views = 1

    def __init__(self, model: ModelConfig, method: MethodConfig, *, rngs: nnx.Rngs, num_classes: int = 0):
        super().__init__(model, method, rngs=rngs)
        self.num_visible = num_visible(model.num_patches, method.mask_rate)
        self.decoder = Decoder(model, rngs=rngs)

    def loss(self, batch: Batch, key: PRNGKeyArray) -> tuple[Float[Array, ""], Metrics]:
        """Eq. 2, on however many views are given."""
        patches = patchify(batch["views"].reshape(-1, *batch["views"].shape[2:]), self.model.patch_size)  # [B, T, P]
        return self.loss_in_order(patches, random_order(key, *patches.shape[:2]))

    def loss_in_order(
        self, patches: Float[Array, "batch tokens patch_dim"], order: Int[Array, "batch tokens"]
    ) -> tuple[Float[Array, ""], Metrics]:
        """Eq. 2 for a given order of the patches, the first T' of which are visible."""
        shuffled = shuffle(patches, order)
        encoded = self.encoder(shuffled[:, : self.num_visible], order[:, : self.num_visible])
        predicted = self.decoder(encoded, order)[:, self.num_visible :]
        loss = objectives.reconstruction(shuffled[:, self.num_visible :], predicted, self.method.norm_pix)
        return loss, {"loss": loss, "reconstruct": loss}
