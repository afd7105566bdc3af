"""BYOL: its loss is the authors'."""

from __future__ import annotations

import jax
import numpy as np
from teachers import IMAGES, compare, in_torch, new
from torch.nn import functional

from can.methods.teacher import Pooled


def test_the_loss_is_that_of_the_paper_in_torch():
    """utils/helpers.py: regression_loss, 2 - 2 cos, a mean over images; with our weights in their heads."""
    method = new("byol")

    def distance(p, z):
        return (2 - 2 * functional.cosine_similarity(p, z)).mean()

    def reference(students, teachers):
        p = [in_torch(method.predictor, in_torch(method.projector, view)) for view in students]
        z = [in_torch(method.target["projector"], view) for view in teachers]
        return distance(p[0], z[1]) + distance(p[1], z[0])

    assert compare(method, reference, Pooled) < 1e-5


def test_it_starts_near_4():
    student, teacher = (jax.random.normal(jax.random.key(key), (2 * IMAGES, 16)) for key in (1, 2))
    loss, _ = new("byol", head_out=256).whole_batch(Pooled(student, teacher), {})
    np.testing.assert_allclose(loss, 4, rtol=0.15)
