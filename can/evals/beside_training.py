"""What an encoder knows while it trains: neighbours, effective rank and spread, on images of the training split.

The images are the first ones of the labelled training split, so no test image is looked at. Nothing is random.
"""

from __future__ import annotations

from functools import partial

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from can.config import KnnConfig
from can.data import ImageSet
from can.errors import ConfigError, DataError
from can.evals import knn
from can.evals.collapse import effective_rank, spread
from can.evals.encoder import Encoder, extract_features
from can.methods import Method
from can.methods.contrastive import Contrastive
from can.runs.row import Metrics
from can.training_step import TrainState, evaluated_encoder

LEAST, OF_EACH_CLASS = 2000, 10  # images whose neighbourhood is searched
ASKED = 0.5  # images that are classified, for each of them


class BesideTraining:
    """Looks at a state every so many steps; see `can.runs.beside.Beside`.

    Raises DataError if the images have no labels or one class, ConfigError if there are too few.
    """

    def __init__(self, images: ImageSet, every: int, config: KnnConfig | None = None) -> None:
        self.every, self._config = every, config or KnnConfig()
        if (classes := images.num_classes or 0) < 2:
            raise DataError(
                f"--probe_every needs labelled images of two classes or more, {images.name} {images.split} has "
                f"{classes or 'none'}: pass another --labelled"
            )
        known = min(max(LEAST, OF_EACH_CLASS * classes), int(len(images) / (1 + ASKED)))
        if self._config.k > known:
            raise ConfigError(
                f"--probe_every seeks {self._config.k} neighbours among {known} images: pass a smaller --knn_k"
            )
        end = known + round(ASKED * known)
        self._classes = classes
        self._known = images.take(f"{images.split}[:{known}]", [(0, known)])
        self._asked = images.take(f"{images.split}[{known}:{end}]", [(known, min(end, len(images)))])

    def look(self, graphdef: nnx.GraphDef, state: TrainState) -> Metrics:
        """The accuracy of nearest neighbours, the features' effective rank, and the projections' spread, if any."""
        params, kept = _whole((state.params, state.batch_stats))
        method: Method = nnx.merge(graphdef, params, kept, copy=True)
        encoder = Encoder.from_model(evaluated_encoder(method))
        (known, labels), (asked, truth) = (extract_features(encoder, part) for part in (self._known, self._asked))
        predicted = knn.predict(known, labels, asked, self._config, self._classes)
        features = np.concatenate([known, asked])
        found = {"knn_top1": float((predicted == truth).mean()), "effective_rank": effective_rank(features)}
        if isinstance(method, Contrastive):
            found["projection_spread"] = spread(np.asarray(_projected(graphdef, params, kept, features)))
        return found


def _whole(parts: tuple[nnx.State, nnx.State]) -> tuple[nnx.State, nnx.State]:
    """The parameters and the rest on every device, of which each may have had a part."""
    layout = jax.tree.leaves(parts)[0].sharding
    if not isinstance(layout, jax.NamedSharding) or layout.mesh.size == 1:
        return parts
    return jax.jit(lambda given: given, out_shardings=jax.NamedSharding(layout.mesh, jax.P()))(parts)


@partial(jax.jit, static_argnums=0)
def _projected(
    graphdef: nnx.GraphDef, params: nnx.State, kept: nnx.State, features: Float[Array, "n features"]
) -> Float[Array, "n out"]:
    """U of unaugmented images; the copy's batch statistics move, and are left."""
    method: Contrastive = nnx.merge(graphdef, params, kept, copy=True)
    return method.head(features)
