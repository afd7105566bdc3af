"""CAN with a momentum teacher, which Sec. 3.6 expects to help: its keys are the teacher's projections (as MoCLR's)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from flax import nnx
from jax.lax import stop_gradient
from jaxtyping import Array, Float

from can import objectives
from can.config import ModelConfig, RunConfig
from can.fields import ShareBelowOne
from can.methods.can import CAN, CANSettings, MaskedViews
from can.methods.kinds import targets
from can.methods.method import Loss, Metrics
from can.methods.teacher import momentum


@dataclass(frozen=True)
class CANTeacherSettings(CANSettings):
    """CAN's, and how the teacher follows."""

    name: str = field(default="can_teacher", init=False)
    teacher_momentum: ShareBelowOne = 0.99  # of the averaged teacher at the first step; rises to 1 on a cosine


class Pooled(NamedTuple):
    """Pooled tokens of both views, view by view."""

    student: Float[Array, "rows width"]
    teacher: Float[Array, "rows width"]  # without gradients


class CANTeacher(CAN):
    """The teacher, of encoder and projection head, sees the same masked and noisy views."""

    name = "can_teacher"
    Settings = CANTeacherSettings
    settings: CANTeacherSettings

    def __init__(self, config: ModelConfig, settings: CANTeacherSettings, *, rngs: nnx.Rngs, num_classes: int = 0):
        super().__init__(config, settings, rngs=rngs)
        self.target = targets(encoder=self.encoder, head=self.head)

    @classmethod
    def schedules(cls, config: RunConfig) -> dict[str, Callable[[int], float]]:
        """The teacher's momentum."""
        return {"momentum": momentum(config)}

    def each_image(self, views: MaskedViews) -> tuple[Pooled, Metrics]:  # type: ignore[override]
        """Pooled tokens of student and teacher, Eq. 2 and Eq. 3."""
        student, means = super().each_image(views)
        teacher = self.target["encoder"]
        tokens = teacher(views.visible, views.order[:, : self.num_visible])
        return Pooled(student, stop_gradient(teacher.pool(tokens))), means

    def whole_batch(self, pooled: Pooled, means: Metrics) -> Loss:  # type: ignore[override]
        """CAN's sum, with the teacher's keys in the contrast: the mean of both directions."""
        tau = self.settings.temperature
        q = self.project(pooled.student)  # [2, B, r]
        k = stop_gradient(self.target["head"](pooled.teacher)).reshape(q.shape)
        infonce = (objectives.keyed(q[0], k[1], tau) + objectives.keyed(q[1], k[0], tau)) / 2
        return self.total(infonce, means), {"infonce": infonce, "spread": objectives.spread(k[0])}
