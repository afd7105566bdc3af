"""SimCLR: contrastive learning on two views (Chen et al., 2020), on CAN's encoder and projection head."""

from __future__ import annotations

from dataclasses import dataclass, field

from flax import nnx
from jaxtyping import PRNGKeyArray

from can.config import ModelConfig
from can.fields import Share
from can.methods.contrastive import Contrastive, ContrastiveSettings
from can.methods.method import Batch, Inputs, rows_of
from can.models import ProjectionHead
from can.views import num_visible, patchify, random_order, shuffle


@dataclass(frozen=True)
class SimCLRSettings(ContrastiveSettings):
    """Of the contrastive loss, and the masking of Figure 7 and Table 4."""

    name: str = field(default="simclr", init=False)
    mask_rate: Share = 0.0  # of patches, hidden from the encoder


class SimCLR(Contrastive):
    """Encodes whole views; with a mask rate (Figure 7, Table 4) the visible patches only."""

    name = "simclr"
    Settings = SimCLRSettings

    def __init__(self, model: ModelConfig, method: SimCLRSettings, *, rngs: nnx.Rngs, num_classes: int = 0):
        super().__init__(model, method, rngs=rngs)
        self.num_visible = num_visible(model.num_patches, method.mask_rate)
        self.head = ProjectionHead(model, rngs=rngs)

    def inputs(self, batch: Batch, key: PRNGKeyArray) -> Inputs:
        """The patches of both views, all or those that a mask leaves."""
        patches = patchify(rows_of(batch["views"]), self.model.patch_size)  # [2B, T, P]
        if self.num_visible == self.model.num_patches:
            return {"visible": patches}
        order = random_order(key, *patches.shape[:2])[:, : self.num_visible]
        return {"visible": shuffle(patches, order), "places": order}
