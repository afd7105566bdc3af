"""MoCo-v3: contrast of two views with an averaged teacher's keys (Chen et al., 2021)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from flax import nnx
from jax.lax import stop_gradient

from can import objectives
from can.config import ModelConfig
from can.fields import Within
from can.methods.kinds import targets
from can.methods.method import Loss, Metrics
from can.methods.teacher import Pooled, TeacherMethod, TeacherSettings, by_view
from can.models.mlp_head import MLPHead, unit


@dataclass(frozen=True)
class MoCoV3Settings(TeacherSettings):
    """The contrast, and the teacher."""

    name: str = field(default="mocov3", init=False)
    temperature: Annotated[float, Within(1e-6, 1e6)] = 0.2  # tau of the contrast


class MoCoV3(TeacherMethod):
    """Queries of one view are told their keys from the other view's keys of all images, both ways."""

    name = "mocov3"
    Settings = MoCoV3Settings
    frozen = ("patch_embed",)  # stays as it was drawn, for stability
    settings: MoCoV3Settings

    def __init__(self, config: ModelConfig, settings: MoCoV3Settings, *, rngs: nnx.Rngs, num_classes: int = 0):
        super().__init__(config, settings, rngs=rngs)
        hidden, out = config.head_width, config.head_out
        self.projector = MLPHead((config.width, hidden, hidden, out), hidden_bias=False, last_norm=True, rngs=rngs)
        self.predictor = MLPHead((out, hidden, out), hidden_bias=False, last_norm=True, rngs=rngs)
        self.target = targets(encoder=self.encoder, projector=self.projector)

    def whole_batch(self, pooled: Pooled, means: Metrics) -> Loss:
        """2 tau times the cross-entropy, in both directions; 4 tau ln n without information."""
        tau = self.settings.temperature
        q = [unit(self.predictor(self.projector(view))) for view in by_view(pooled.student)]
        k = [stop_gradient(unit(self.target["projector"](view))) for view in by_view(pooled.teacher)]
        contrast = objectives.keyed(q[0], k[1], tau) + objectives.keyed(q[1], k[0], tau)
        return 2 * tau * contrast, {"infonce": contrast / 2, "spread": objectives.spread(k[0])}
