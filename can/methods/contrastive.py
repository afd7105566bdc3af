"""What CAN and SimCLR share: the settings of Eq. 1, and its value on held-out views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from jaxtyping import Array, Float

from can import objectives
from can.config import MethodSettings
from can.fields import OneOf, Within
from can.methods.method import Method, Metrics, Shown
from can.models import ProjectionHead


@dataclass(frozen=True)
class ContrastiveSettings(MethodSettings):
    """How projections are compared."""

    temperature: Annotated[float, Within(1e-6, 1e6)] = 0.1  # tau of Eq. 1
    # The mean over the 2n anchors (Eq. 1), or the sum of both views' means.
    infonce_reduction: Annotated[str, OneOf(("mean", "sum"))] = "mean"


class Contrastive(Method):
    """A method with a projection `head`, which its constructor makes."""

    num_views = 2
    min_batch = 2

    settings: ContrastiveSettings
    head: ProjectionHead

    def comparable_losses(self, shown: Shown) -> Metrics:
        """Eq. 1, of clean patches."""
        tokens = self.encoder(shown.shuffled[:, : shown.visible], shown.order[:, : shown.visible])
        u = self.project(self.encoder.pool(tokens))
        return {"infonce": objectives.info_nce(u, shown.temperature)}

    def project(self, pooled: Float[Array, "rows width"]) -> Float[Array, "views images out"]:
        """u: the projections of both views, with the batch statistics of all rows (Sec. 3.2)."""
        return self.head(pooled).reshape(self.num_views, -1, self.config.head_out)
