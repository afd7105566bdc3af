"""The frozen encoder as evaluations see it: images in, pooled features out, extracted once where they are reused."""

from __future__ import annotations

import dataclasses
import io
import zipfile
import zlib
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float, Float32, Int32, UInt8

from can.augment import eval_view
from can.config import ModelConfig
from can.data import ArrayImages, ImageSet
from can.data.image_set import sha256_of
from can.errors import DataError, UserError
from can.evals.on_mesh import eval_batches_on, on_all_hosts
from can.methods.pixels import RawPixels
from can.models import ViT
from can.models.fingerprint import fingerprint_of
from can.runs.numerics import method_of_numbers
from can.runs.progress_line import ProgressLine
from can.sharding import make_mesh, put_copies
from can.system import hosts
from can.system.files import write_atomic


@dataclass(frozen=True, eq=False)
class Encoder:
    """A module with `features(views)`, split into its structure and its parameters, which nothing here changes.

    Attributes:
      graphdef: the module's structure; encoders of equal structure share compiled programs, whatever their parameters.
      params: the module's parameters.
      image_size: pixels; images are square.
      num_features: D, the width of the pooled features.
      batch_size: images a forward pass; bounds the memory of the activations and changes no result.
      model: a ViT's settings, of which its fingerprint has those that change features; None for other modules.
    """

    graphdef: nnx.GraphDef
    params: nnx.State
    image_size: int
    num_features: int
    batch_size: int = 256
    model: ModelConfig | None = None

    @classmethod
    def from_model(cls, model: ViT | RawPixels, *, batch_size: int = 256) -> Encoder:
        """The encoder that `model` is now: later updates of `model` do not reach it."""
        graphdef, params = nnx.split(model)
        return cls(graphdef, params, model.image_size, model.num_features, batch_size, model.config)

    def at_size(self, image_size: int) -> Encoder:
        """The encoder for images of another size, a ViT's (`ViT.at_size`); as many pixels a batch.

        Raises ConfigError if the encoder cannot take that size.
        """
        model = nnx.merge(self.graphdef, self.params).at_size(image_size)
        batch_size = max(1, self.batch_size * self.image_size**2 // image_size**2)
        return Encoder.from_model(model, batch_size=min(self.batch_size, batch_size))

    def features(self, images: UInt8[Array | np.ndarray, "batch size size 3"]) -> Float[Array, "batch features"]:
        """Pooled features of un-augmented images. One program is compiled for each batch size it is called with."""
        return _features(self.graphdef, self.params, images)

    def __call__(self, images: UInt8[Array | np.ndarray, "batch size size 3"]) -> Float[Array, "batch features"]:
        """`features`."""
        return self.features(images)

    def encode(self, views: Float[Array, "batch size size 3"]) -> Float[Array, "batch features"]:
        """Pooled features of normalised views, for training on augmented images."""
        return _encode(self.graphdef, self.params, views)

    def on(self, mesh: Mesh) -> Encoder:
        """The encoder with its parameters on all devices of the mesh."""
        return dataclasses.replace(self, params=put_copies(self.params, mesh))

    @cached_property
    def fingerprint(self) -> str:
        """Hexadecimal sha256: equal fingerprints mean equal features of equal images."""
        return fingerprint_of(self.params, self.model, self.image_size)


def extract_features(
    encoder: Encoder, image_set: ImageSet, *, resize: int | None = None, cache_dir: Path | None = None
) -> tuple[Float32[np.ndarray, "n features"], Int32[np.ndarray, " n"]]:
    """Features and labels of every image of a labelled set, un-augmented, in the set's order, by all devices there are.

    `resize` is that of `can.data.eval_batches`. With a `cache_dir` the features are kept there, in one file a pair of
    encoder and set, and read back the next time.

    Raises:
      DataError: the set has no labels.
      UserError: a feature is not finite, or the cache cannot be written.
    """
    if image_set.num_classes is None:
        raise DataError(f"{image_set.name} {image_set.split} has no labels to evaluate with: pass a labelled data set")
    method = method_of_numbers()
    made_by = sha256_of(encoder.fingerprint, sorted(method.items())) if method else encoder.fingerprint
    key = f"{made_by[:16]}-{image_set.fingerprint[:16]}" + (f"-{resize}" if resize else "")
    worth_keeping = bool(jax.tree.leaves(encoder.params))  # raw pixels are on disk already
    cache = cache_dir / f"{key}.npz" if cache_dir and worth_keeping else None
    if cache and (cached := hosts.decided(_read_cache, cache, encoder, image_set)):
        return cached
    features = np.empty((len(image_set), encoder.num_features), np.float32)
    labels = np.empty(len(image_set), np.int32)
    mesh, start = make_mesh(), 0
    placed = encoder.on(mesh)
    shape = (encoder.batch_size, encoder.image_size)
    line = ProgressLine(
        len(image_set), what=f"features of {image_set.name} {image_set.split}", unit="image", patient=True
    )
    for batch, count in eval_batches_on(mesh, image_set, *shape, resize=resize):
        found = on_all_hosts({"features": placed.features(batch["image"]), "labels": batch["label"]})
        features[start : start + count] = found["features"][:count]
        labels[start : start + count] = found["labels"][:count]
        start += count
        line.show(start)
    line.close()
    if start != len(image_set):
        raise AssertionError(f"read {start} of {len(image_set)} images")
    if not np.isfinite(features).all():
        raise UserError(
            f"the encoder's features of {image_set.name} are not finite: its weights are damaged, "
            "evaluate an earlier checkpoint"
        )
    if cache:
        buffer = io.BytesIO()
        np.savez(buffer, features=features, labels=labels)
        write_atomic(cache, buffer.getvalue())
    return features, labels


def _read_cache(path: Path, encoder: Encoder, image_set: ImageSet) -> tuple[np.ndarray, np.ndarray] | None:
    """What `extract_features` left at `path`; None if that is nothing, damaged or of another form: it is made again."""
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            features, labels = arrays["features"], arrays["labels"]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error):
        return None
    if (features.shape, features.dtype) != ((len(image_set), encoder.num_features), np.float32):
        return None
    if (labels.shape, labels.dtype) != ((len(image_set),), np.int32) or not np.isfinite(features).all():
        return None
    known = image_set.labels if isinstance(image_set, ArrayImages) else None
    if known is not None and not np.array_equal(labels, known):
        return None
    return features, labels


@partial(jax.jit, static_argnums=0)
def _features(graphdef: nnx.GraphDef, params: nnx.State, images: Array) -> Array:
    return nnx.merge(graphdef, params).features(eval_view(images))


@partial(jax.jit, static_argnums=0)
def _encode(graphdef: nnx.GraphDef, params: nnx.State, views: Array) -> Array:
    return nnx.merge(graphdef, params).features(views)
