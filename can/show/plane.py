"""Features in two dimensions: what is near is alike, what is far says little.

By t-SNE (van der Maaten & Hinton, 2008), scikit-learn's.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32
from sklearn.manifold import TSNE

PERPLEXITY = 30.0  # about how many neighbours count as near


def in_plane(features: Float32[np.ndarray, "n features"], *, seed: int = 0) -> Float32[np.ndarray, "n 2"]:
    """Where t-SNE puts each image, by the cosines of features. Deterministic on one machine."""
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    perplexity = min(PERPLEXITY, (len(unit) - 1) / 3)
    placed = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(unit)
    return np.asarray(placed, np.float32)
