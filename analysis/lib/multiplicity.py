"""Several claims judged at once: their p-values adjusted, over the last axis, so that .05 holds for all together."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def holm(p: Float[np.ndarray, "*tables claims"]) -> Float[np.ndarray, "*tables claims"]:
    """Holm's step-down adjustment: a family is decided wrongly at most at the rate of one claim."""
    order = np.argsort(p, axis=-1)
    steps = np.take_along_axis(p, order, -1) * np.arange(p.shape[-1], 0, -1)
    return _put_back(np.minimum(np.maximum.accumulate(steps, axis=-1), 1), order)


def benjamini_hochberg(p: Float[np.ndarray, "*tables claims"]) -> Float[np.ndarray, "*tables claims"]:
    """Benjamini and Hochberg's step-up adjustment: it holds the expected share of wrong decisions among all decided."""
    order, count = np.argsort(p, axis=-1), p.shape[-1]
    steps = np.take_along_axis(p, order, -1) * count / np.arange(1, count + 1)
    return _put_back(np.minimum(np.minimum.accumulate(steps[..., ::-1], axis=-1)[..., ::-1], 1), order)


def _put_back(ordered: np.ndarray, order: np.ndarray) -> np.ndarray:
    adjusted = np.empty_like(ordered)
    np.put_along_axis(adjusted, order, ordered, -1)
    return adjusted
