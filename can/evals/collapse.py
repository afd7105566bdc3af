"""How many dimensions features fill, and how far projections spread: what shrinks when a method collapses."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

_EPSILON = 1e-7  # RankMe's


def effective_rank(features: Float[np.ndarray, "n features"]) -> float:
    """RankMe (Garrido et al., 2023, Eq. 1): exp of the entropy of the singular values' shares; from 1 to the width."""
    values = np.linalg.svd(np.asarray(features, np.float64), compute_uv=False)
    shares = values / max(values.sum(), _EPSILON) + _EPSILON
    return float(np.exp(-(shares * np.log(shares)).sum()))


def spread(projections: Float[np.ndarray, "n out"]) -> float:
    """The standard deviation of unit vectors' components, times the root of their number (Chen & He, 2021, Sec. 4.1).

    1 where they point everywhere, 0 where all are one.
    """
    return float(np.asarray(projections, np.float64).std(axis=0).mean() * np.sqrt(projections.shape[1]))
