"""What methods with an averaged teacher share: two asymmetric views, a teacher that follows, pooled tokens of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from can.augment import View
from can.config import MethodSettings, RunConfig
from can.fields import ShareBelowOne
from can.methods.method import Batch, Method, Metrics, floats, rows_of
from can.optim import cosine
from can.views import patchify

BYOL_VIEWS = (View(blur=1.0, solarize=0.0), View(blur=0.1, solarize=1.0))  # Grill et al. (2020)


@dataclass(frozen=True)
class TeacherSettings(MethodSettings):
    """How the teacher follows."""

    teacher_momentum: ShareBelowOne = 0.99  # of the averaged teacher at the first step; rises to 1 on a cosine


class Pooled(NamedTuple):
    """Pooled tokens of both views, view by view."""

    student: Float[Array, "rows width"]
    teacher: Float[Array, "rows width"]  # without gradients


class TeacherMethod(Method):
    """Two whole views, which the encoder and its averaged self both see; `target` holds what is averaged."""

    augmentation = "byol"
    num_views = 2
    views = BYOL_VIEWS
    min_batch = 2

    settings: TeacherSettings
    target: nnx.Dict

    @classmethod
    def schedules(cls, config: RunConfig) -> dict[str, Callable[[int], float]]:
        """The teacher's momentum."""
        return {"momentum": momentum(config)}

    def inputs(self, batch: Batch, key: PRNGKeyArray) -> Float[Array, "rows tokens patch_dim"]:
        """The patches of both views."""
        return patchify(rows_of(batch["views"]), self.config.patch_size)

    def each_image(self, patches: Float[Array, "rows tokens patch_dim"]) -> tuple[Pooled, Metrics]:
        """Pooled tokens of the student and of the teacher."""
        teacher = self.target["encoder"]
        return Pooled(
            self.encoder.pool(self.encoder(patches)), jax.lax.stop_gradient(teacher.pool(teacher(patches)))
        ), {}

    def calls(self, rows: int) -> dict[str, tuple[nnx.Module, tuple[Any, ...]]]:
        """Both encoders."""
        patches = floats(rows, self.config.num_patches, self.config.patch_size**2 * 3)
        return {"encoder": (self.encoder, (patches,)), "teacher": (self.target["encoder"], (patches,))}


def momentum(config: RunConfig) -> Callable[[int], float]:
    """The teacher's momentum over a run of settings with a `teacher_momentum`."""
    settings: Any = config.method
    return cosine(settings.teacher_momentum, 1.0, config.optim.total_steps)


def by_view(rows: Float[Array, "rows width"], views: int = 2) -> list[Float[Array, "images width"]]:
    """The inverse of `rows_of`: heads see one view at a time, for their batch statistics are a view's."""
    return list(rows.reshape(views, -1, rows.shape[-1]))
