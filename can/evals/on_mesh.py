"""Evaluation batches over the devices of all hosts: each image is read by one host and seen by one device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from can.data import ImageSet, eval_batches
from can.sharding import local_rows, put_batch

NO_LABEL = -1  # of the blank images: no class has it


def eval_batches_on(
    mesh: Mesh, image_set: ImageSet, batch_size: int, image_size: int, *, resize: int | None = None, border: int = 0
) -> Iterator[tuple[dict[str, Array], int]]:
    """Every image once, in order, as global batches of one size, each with the number of its images.

    Blank images with the label `NO_LABEL` fill the last batch up, so that one compiled program serves all. A batch has
    `batch_size` images, or what the set has if that is less, and some more where the devices do not divide that. The
    batches are those of `can.data.eval_batches`, which says what else is asked for and raised.
    """
    size = -(-min(batch_size, len(image_set)) // mesh.size) * mesh.size
    rows = None if jax.process_count() == 1 else local_rows(mesh, size).tolist()
    parts = eval_batches(image_set, batch_size=size, image_size=image_size, resize=resize, border=border, rows=rows)
    for start, part in zip(range(0, len(image_set), size), parts, strict=True):
        yield (
            put_batch(_filled_up(part, size if rows is None else len(rows)), mesh, size),
            min(size, len(image_set) - start),
        )


def on_all_hosts(tree: Any) -> Any:
    """Global arrays as numpy's, whole in every process."""
    if jax.process_count() == 1:
        return jax.tree.map(np.asarray, tree)
    return multihost_utils.process_allgather(tree, tiled=True)


def _filled_up(part: dict[str, np.ndarray], size: int) -> dict[str, np.ndarray]:
    missing = size - len(part["image"])
    full = {"image": np.pad(part["image"], ((0, missing), (0, 0), (0, 0), (0, 0)))}
    if "label" in part:
        full["label"] = np.pad(part["label"], (0, missing), constant_values=NO_LABEL)
    return full
