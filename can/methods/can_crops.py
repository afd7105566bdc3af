"""CAN with local crops, which Sec. 3.6 expects to help: small views, neither masked nor decoded, in the contrast."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from jaxtyping import Array, Float, PRNGKeyArray

from can import objectives
from can.augment import View
from can.errors import ConfigError
from can.fields import Share
from can.methods.can import CAN, CANSettings, MaskedViews
from can.methods.method import Batch, Loss, Metrics, rows_of
from can.views import patchify


@dataclass(frozen=True)
class CANCropsSettings(CANSettings):
    """CAN's, and what the local crops weigh; how many there are is the augmentation's."""

    name: str = field(default="can_crops", init=False)
    local_weight: Share = 0.5  # share of the local crops' contrast in the whole one


class Crops(NamedTuple):
    """Two masked views and the patches of local crops, view by view."""

    views: MaskedViews
    locals: Float[Array, "local_rows local_tokens patch_dim"]


class Pooled(NamedTuple):
    """Pooled tokens, view by view."""

    views: Float[Array, "rows width"]
    locals: Float[Array, "local_rows width"]


class CANCrops(CAN):
    """Each local crop is told its image's two full views from those of all other images."""

    name = "can_crops"
    Settings = CANCropsSettings
    local_view = View()
    divisible = False  # the inputs are of two sizes
    settings: CANCropsSettings

    def inputs(self, batch: Batch, key: PRNGKeyArray) -> Crops:  # type: ignore[override]
        """CAN's, and the local crops as they are."""
        if "local_views" not in batch:
            raise ConfigError("can_crops without local crops is can: pass --local_crops of 1 or more")
        return Crops(super().inputs(batch, key), patchify(rows_of(batch["local_views"]), self.config.patch_size))

    def each_image(self, crops: Crops) -> tuple[Pooled, Metrics]:  # type: ignore[override]
        """Pooled tokens of all crops, Eq. 2 and Eq. 3 of the full views."""
        views, means = super().each_image(crops.views)
        side = round(crops.locals.shape[1] ** 0.5) * self.config.patch_size
        small = self.encoder.at_size(side)
        return Pooled(views, small.pool(small(crops.locals))), means

    def whole_batch(self, pooled: Pooled, means: Metrics) -> Loss:  # type: ignore[override]
        """CAN's sum, with the local crops' share in the contrast."""
        settings, n = self.settings, len(pooled.views) // 2
        u = self.project(pooled.views)  # [2, B, r]
        small = self.head(pooled.locals).reshape(-1, n, u.shape[-1])  # [L, B, r]
        full = objectives.info_nce(u, settings.temperature, settings.infonce_reduction)
        pairs = [objectives.keyed(crop, view, settings.temperature) for crop in small for view in u]
        local = sum(pairs, start=0 * full) / len(pairs)
        infonce = (1 - settings.local_weight) * full + settings.local_weight * local
        return self.total(infonce, means), {"infonce": full, "infonce_local": local}
