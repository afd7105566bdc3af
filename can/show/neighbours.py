"""Which images an encoder finds alike."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int


class Neighbours(NamedTuple):
    """The nearest images of some, nearest first."""

    places: Int[np.ndarray, "asked k"]  # in the set
    cosines: Float[np.ndarray, "asked k"]  # of features


def nearest(features: Float32[np.ndarray, "n features"], asked: int, k: int) -> Neighbours:
    """The k images of largest cosine for each of the first `asked` images of a set, itself left out."""
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    cosines = unit[:asked] @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    places = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return Neighbours(places, np.take_along_axis(cosines, places, axis=1))
