"""MoCLR: SimCLR's contrast with a teacher's keys."""

from __future__ import annotations

import jax
import numpy as np
import pytest
import torch
from teachers import IMAGES, compare, in_torch, new
from torch.nn import functional

from can.errors import ConfigError
from can.methods import settings_class
from can.methods.teacher import Pooled


@pytest.mark.parametrize("negatives", ["other", "both"])
def test_the_loss_is_cross_entropy_in_torch(negatives):
    """Both directions' mean; of "both", the own view's keys of other images are further wrong answers."""
    method = new("moclr", negatives=negatives)

    def contrast(q, other, own):
        logits = q @ other.T / 0.1
        if negatives == "both":
            logits = torch.cat([logits, (q @ own.T / 0.1).fill_diagonal_(-torch.inf)], dim=1)
        return functional.cross_entropy(logits, torch.arange(len(q)))

    def reference(students, teachers):
        q = [functional.normalize(in_torch(method.projector, view)) for view in students]
        k = [functional.normalize(in_torch(method.target["projector"], view)) for view in teachers]
        return (contrast(q[0], k[1], k[0]) + contrast(q[1], k[0], k[1])) / 2

    assert compare(method, reference, Pooled) < 1e-5


def test_without_information_it_is_ln_n():
    student, teacher = (jax.random.normal(jax.random.key(key), (2 * IMAGES, 16)) for key in (1, 2))
    loss, _ = new("moclr", head_out=512, temperature=0.5).whole_batch(Pooled(student, teacher), {})
    np.testing.assert_allclose(loss, np.log(IMAGES), rtol=0.15)


def test_other_negatives_are_refused():
    with pytest.raises(ConfigError, match="unknown negatives"):
        settings_class("moclr")(negatives="all")
