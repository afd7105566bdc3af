"""DINO: the student's view of small crops is to agree with an averaged teacher's of large ones (Caron et al., 2021)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.lax import stop_gradient
from jaxtyping import Array, Float, PRNGKeyArray

from can import objectives
from can.augment import View
from can.config import ModelConfig, RunConfig
from can.fields import Share, ShareBelowOne, Within
from can.methods.kinds import Running, targets
from can.methods.method import Batch, Loss, Metrics, rows_of
from can.methods.teacher import TeacherMethod, TeacherSettings, momentum
from can.models.mlp_head import DINOHead
from can.views import patchify

Temperature = Annotated[float, Within(1e-6, 1e6)]


@dataclass(frozen=True)
class DINOSettings(TeacherSettings):
    """The head, its temperatures and the teacher; how many local crops there are is the augmentation's."""

    name: str = field(default="dino", init=False)
    teacher_momentum: ShareBelowOne = 0.996
    prototypes: Annotated[int, Within(2, 2**20)] = 65536  # K, outputs of the head
    student_temperature: Temperature = 0.1  # of the student's softmax
    first_teacher_temperature: Temperature = 0.04  # of the teacher's at the first step; rises in a line ...
    teacher_temperature: Temperature = 0.04  # ... from first_teacher_temperature to this ...
    temperature_warmup: Share = 0.0  # ... over this share of the steps, the teacher's
    centre_momentum: ShareBelowOne = 0.9  # of the mean that the teacher's outputs are centred by
    prototypes_frozen: Share = 0.01  # share of the steps in which the prototypes stay as they were drawn


class Crops(NamedTuple):
    """Patches, view by view."""

    globals: Float[Array, "rows tokens patch_dim"]
    locals: Float[Array, "local_rows local_tokens patch_dim"] | None
    temperature: Float[Array, ""]  # of the teacher, in this step


class Pooled(NamedTuple):
    """Pooled tokens, view by view, and the teacher's temperature."""

    student: Float[Array, "all_rows width"]  # of both global views, then of the local ones
    teacher: Float[Array, "rows width"]  # of the global views
    temperature: Float[Array, ""]


class DINO(TeacherMethod):
    """The teacher sees the two global views, the student all; both sort them among K prototypes."""

    name = "dino"
    Settings = DINOSettings
    local_view = View(blur=0.5, solarize=0.0)
    divisible = False  # the inputs are of two sizes
    evaluated = "target/encoder"
    settings: DINOSettings

    def __init__(self, config: ModelConfig, settings: DINOSettings, *, rngs: nnx.Rngs, num_classes: int = 0):
        super().__init__(config, settings, rngs=rngs)
        self.head = DINOHead(config.width, config.head_width, config.head_out, settings.prototypes, rngs=rngs)
        self.target = targets(encoder=self.encoder, head=self.head)
        self.centre = Running(jnp.zeros(settings.prototypes))

    @classmethod
    def schedules(cls, config: RunConfig) -> dict[str, Callable[[int], float]]:
        """Momentum and temperature of the teacher, and whether the prototypes learn."""
        settings, steps = config.method, config.optim.total_steps
        assert isinstance(settings, DINOSettings)
        first, rise = (
            settings.first_teacher_temperature,
            settings.teacher_temperature - settings.first_teacher_temperature,
        )
        warmup = settings.temperature_warmup * steps
        return {
            "momentum": momentum(config),
            "teacher_temperature": lambda step: first + rise * (min(step / warmup, 1.0) if warmup else 1.0),
            "learns/prototypes": lambda step: float(step >= settings.prototypes_frozen * steps),
        }

    def inputs(self, batch: Batch, key: PRNGKeyArray) -> Crops:  # type: ignore[override]
        """The patches of all crops."""
        size = self.config.patch_size
        small = patchify(rows_of(batch["local_views"]), size) if "local_views" in batch else None
        return Crops(patchify(rows_of(batch["views"]), size), small, batch["rates"]["teacher_temperature"])

    def each_image(self, crops: Crops) -> tuple[Pooled, Metrics]:  # type: ignore[override]
        """Pooled tokens of all crops by the student, of the global ones by the teacher."""
        student = self.encoder.pool(self.encoder(crops.globals))
        if crops.locals is not None:
            side = round(crops.locals.shape[1] ** 0.5) * self.config.patch_size
            small = self.encoder.at_size(side)
            student = jnp.concatenate([student, small.pool(small(crops.locals))])
        teacher = self.target["encoder"]
        return Pooled(student, stop_gradient(teacher.pool(teacher(crops.globals))), crops.temperature), {}

    def whole_batch(self, pooled: Pooled, means: Metrics) -> Loss:
        """The cross-entropy; then the centre moves to the teacher's outputs of the whole batch."""
        images, settings = len(pooled.teacher) // 2, self.settings
        student = self.head(pooled.student).reshape(-1, images, settings.prototypes)
        teacher = stop_gradient(self.target["head"](pooled.teacher)).reshape(2, images, settings.prototypes)
        centre = jax.lax.stop_gradient(self.centre[...])
        loss, entropy = objectives.distillation(
            student, teacher, centre, settings.student_temperature, pooled.temperature
        )
        mean = jnp.mean(teacher, axis=(0, 1))
        self.centre[...] = settings.centre_momentum * centre + (1 - settings.centre_momentum) * mean
        return loss, {"teacher_entropy": entropy}
