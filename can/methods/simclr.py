"""SimCLR: contrastive learning on two views (Chen et al., 2020), on CAN's encoder and projection head."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from can import objectives
from can.config import ModelConfig
from can.fields import Share
from can.methods.contrastive import Contrastive, ContrastiveSettings
from can.methods.method import Batch, Loss, Metrics, floats, ints, rows_of
from can.models import ProjectionHead
from can.views import num_visible, patchify, random_order, shuffle


@dataclass(frozen=True)
class SimCLRSettings(ContrastiveSettings):
    """The contrastive loss's settings, and the masking of Figure 7 and Table 4."""

    name: str = field(default="simclr", init=False)
    mask_rate: Share = 0.0  # share of patches hidden from the encoder


class Visible(NamedTuple):
    """Both views of each image, view by view: all patches, or those that a mask leaves."""

    patches: Float[Array, "rows visible patch_dim"]
    places: Int[Array, "rows visible"] | None  # None: all, in order


class SimCLR(Contrastive):
    """Encodes whole views; with a mask rate (Figure 7, Table 4) the visible patches only."""

    name = "simclr"
    Settings = SimCLRSettings

    def __init__(self, config: ModelConfig, settings: SimCLRSettings, *, rngs: nnx.Rngs, num_classes: int = 0):
        super().__init__(config, settings, rngs=rngs)
        self.num_visible = num_visible(config.num_patches, settings.mask_rate)
        self.head = ProjectionHead(config, rngs=rngs)

    def inputs(self, batch: Batch, key: PRNGKeyArray) -> Visible:
        """What the encoder sees of both views."""
        patches = patchify(rows_of(batch["views"]), self.config.patch_size)  # [2B, T, P]
        if self.num_visible == self.config.num_patches:
            return Visible(patches, None)
        order = random_order(key, *patches.shape[:2])[:, : self.num_visible]
        return Visible(shuffle(patches, order), order)

    def each_image(self, views: Visible) -> tuple[Float[Array, "rows width"], Metrics]:
        """Pooled tokens."""
        return self.encoder.pool(self.encoder(views.patches, views.places)), {}

    def whole_batch(self, pooled: Float[Array, "rows width"], means: Metrics) -> Loss:
        """Eq. 1."""
        infonce = objectives.info_nce(self.project(pooled), self.settings.temperature, self.settings.infonce_reduction)
        return infonce, {"infonce": infonce}

    def calls(self, rows: int) -> dict[str, tuple[nnx.Module, tuple[Any, ...]]]:
        """Encoder and head."""
        config, visible = self.config, self.num_visible
        return {
            "encoder": (self.encoder, (floats(rows, visible, config.patch_size**2 * 3), ints(rows, visible))),
            "head": (self.head, (floats(rows, config.width),)),
        }
