"""What CAN and SimCLR share: two views of each image, told from those of all others after a projection (Eq. 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from jaxtyping import Array, Float

from can import objectives
from can.config import MethodSettings
from can.fields import OneOf, Within
from can.methods.method import Loss, Method
from can.models import ProjectionHead


@dataclass(frozen=True)
class ContrastiveSettings(MethodSettings):
    """How projections are compared."""

    temperature: Annotated[float, Within(1e-6, 1e6)] = 0.1
    # The mean over the 2n anchors (Eq. 1), or the sum of both views' means.
    infonce_reduction: Annotated[str, OneOf(("mean", "sum"))] = "mean"


class Contrastive(Method):
    """A method with a projection `head`, which its constructor makes."""

    num_views = 2
    min_batch = 2

    method: ContrastiveSettings
    head: ProjectionHead

    def batch_loss(self, pooled: Float[Array, "rows width"]) -> Loss:
        """Eq. 1 of the projections, with the batch statistics of all rows."""
        u = self.head(pooled).reshape(self.num_views, -1, self.model.head_out)  # [2, B, r]
        infonce = objectives.info_nce(u, self.method.temperature, self.method.infonce_reduction)
        return infonce, {"infonce": infonce}
