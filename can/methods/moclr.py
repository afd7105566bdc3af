"""MoCLR: SimCLR's contrast with an averaged teacher's keys (Tian et al., 2021). No code of it is public.

What could not be read of the paper is a setting here, and docs/methods.md names it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from flax import nnx
from jax.lax import stop_gradient

from can import objectives
from can.config import ModelConfig
from can.fields import OneOf, Within
from can.methods.kinds import targets
from can.methods.method import Loss, Metrics
from can.methods.teacher import Pooled, TeacherMethod, TeacherSettings, by_view
from can.models.mlp_head import MLPHead, unit


@dataclass(frozen=True)
class MoCLRSettings(TeacherSettings):
    """The contrast, and the teacher."""

    name: str = field(default="moclr", init=False)
    temperature: Annotated[float, Within(1e-6, 1e6)] = 0.1  # tau of the contrast
    # Which keys of other images are negatives: the "other" view's, or those of "both".
    negatives: Annotated[str, OneOf(("other", "both"))] = "other"


class MoCLR(TeacherMethod):
    """BYOL's projector without a predictor, and its views."""

    name = "moclr"
    Settings = MoCLRSettings
    settings: MoCLRSettings

    def __init__(self, config: ModelConfig, settings: MoCLRSettings, *, rngs: nnx.Rngs, num_classes: int = 0):
        super().__init__(config, settings, rngs=rngs)
        widths = (config.width, config.head_width, config.head_out)
        self.projector = MLPHead(widths, hidden_bias=True, last_norm=False, rngs=rngs)
        self.target = targets(encoder=self.encoder, projector=self.projector)

    def whole_batch(self, pooled: Pooled, means: Metrics) -> Loss:
        """The mean of both directions; ln n without information."""
        tau = self.settings.temperature
        q = [unit(self.projector(view)) for view in by_view(pooled.student)]
        k = [stop_gradient(unit(self.target["projector"](view))) for view in by_view(pooled.teacher)]
        same = k if self.settings.negatives == "both" else [None, None]
        loss = (objectives.keyed(q[0], k[1], tau, same[0]) + objectives.keyed(q[1], k[0], tau, same[1])) / 2
        return loss, {"infonce": loss, "spread": objectives.spread(k[0])}
