"""SimCLR: contrastive learning on two views (Chen et al., 2020), on CAN's encoder and projection head."""

from __future__ import annotations

from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from can import objectives
from can.config import MethodConfig, ModelConfig
from can.methods.method import Batch, Method, Metrics
from can.models import ProjectionHead
from can.views import num_visible, patchify, random_order, shuffle


class SimCLR(Method):
    """Encodes whole views; with a mask rate (Figure 7, Table 4) the visible patches only."""

    num_views = 2
    min_batch = 2

    def __init__(self, model: ModelConfig, method: MethodConfig, *, rngs: nnx.Rngs, num_classes: int = 0):
        super().__init__(model, method, rngs=rngs)
        self.num_visible = num_visible(model.num_patches, method.mask_rate) if method.mask_rate else None
        self.head = ProjectionHead(model, rngs=rngs)

    def loss(self, batch: Batch, key: PRNGKeyArray) -> tuple[Float[Array, ""], Metrics]:
        """Eq. 1."""
        views, images = batch["views"].shape[:2]
        patches = patchify(batch["views"].reshape(-1, *batch["views"].shape[2:]), self.model.patch_size)  # [2B, T, P]
        order = None
        if self.num_visible is not None:
            order = random_order(key, *patches.shape[:2])[:, : self.num_visible]
            patches = shuffle(patches, order)
        u = self.head(self.encoder.pool(self.encoder(patches, order)))  # [2B, r]
        loss = objectives.info_nce(u.reshape(views, images, -1), self.method.temperature, self.method.infonce_reduction)
        return loss, {"loss": loss, "infonce": loss}
