"""BYOL: a prediction of an averaged teacher's projection of another view, without negatives (Grill et al., 2020)."""

from __future__ import annotations

from dataclasses import dataclass, field

from flax import nnx
from jax.lax import stop_gradient

from can import objectives
from can.config import ModelConfig
from can.methods.kinds import targets
from can.methods.method import Loss, Metrics
from can.methods.teacher import Pooled, TeacherMethod, TeacherSettings, by_view
from can.models.mlp_head import MLPHead, unit


@dataclass(frozen=True)
class BYOLSettings(TeacherSettings):
    """The teacher."""

    name: str = field(default="byol", init=False)


class BYOL(TeacherMethod):
    """Predictor, teacher and the batch statistics of both heads keep it from collapse, which `spread` shows."""

    name = "byol"
    Settings = BYOLSettings
    settings: BYOLSettings

    def __init__(self, config: ModelConfig, settings: BYOLSettings, *, rngs: nnx.Rngs, num_classes: int = 0):
        super().__init__(config, settings, rngs=rngs)
        hidden, out = config.head_width, config.head_out
        self.projector = MLPHead((config.width, hidden, out), hidden_bias=True, last_norm=False, rngs=rngs)
        self.predictor = MLPHead((out, hidden, out), hidden_bias=True, last_norm=False, rngs=rngs)
        self.target = targets(encoder=self.encoder, projector=self.projector)

    def whole_batch(self, pooled: Pooled, means: Metrics) -> Loss:
        """Squared distances of unit vectors in both directions; 4 for unrelated ones."""
        p = [unit(self.predictor(self.projector(view))) for view in by_view(pooled.student)]
        z = [stop_gradient(unit(self.target["projector"](view))) for view in by_view(pooled.teacher)]
        loss = objectives.regression(p[0], z[1]) + objectives.regression(p[1], z[0])
        return loss, {"spread": objectives.spread(z[0])}
