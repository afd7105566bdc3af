"""Images by name: `load("fashion_mnist", "train[:55000]", data_dir=...)`, then `batches` or `eval_batches`."""

from __future__ import annotations

from can.data.batches import batches, eval_batches, places_in_batch
from can.data.image_set import ArrayImages, EncodedImages, ImageSet
from can.data.registry import DEFAULT_DATA_DIR, available, load

__all__ = [
    "DEFAULT_DATA_DIR",
    "ArrayImages",
    "EncodedImages",
    "ImageSet",
    "available",
    "batches",
    "eval_batches",
    "load",
    "places_in_batch",
]
