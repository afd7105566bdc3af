"""Robustness: a finetuned classifier on test sets that are not like its training images (Figures 6, 9 and 10).

What a set asks for is a `ShiftedSet`: its images, which labels count as right for each, and among which classes the
largest logit is looked for. Nothing is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging
from jaxtyping import Array, Float, Int, UInt8

from can.data import ImageSet
from can.data.image_set import sha256_of
from can.errors import DataError, UserError
from can.evals.class_subsets import argmax_of
from can.evals.on_mesh import eval_batches_on, on_all_hosts
from can.runs.evaluation import check_correct, pack_correct, unpack_correct
from can.runs.numerics import method_of_numbers
from can.sharding import make_mesh
from can.system import hosts
from can.system.files import read_json, write_json

Logits = Callable[[UInt8[Array, "batch size size 3"]], Float[Array, "batch classes"]]
Subset = tuple[int, ...]


@dataclass(frozen=True)
class ShiftedSet:
    """A test set and its rule.

    Attributes:
      name: of the set, as its metrics begin.
      images: what it is evaluated on, in order.
      right: for each image the labels that count as right; an image without any is left out. None: the images' own.
      stands_for: for each label of the images the classifier's labels that it stands for, where those differ; a label
        that stands for none leaves its images out.
      subsets: for each metric the classes that the argmax is taken over; None stands for all.
      border: pixels that are cut off every side of the image first.
    """

    name: str
    images: ImageSet
    right: Sequence[Sequence[int]] | None = None
    stands_for: Sequence[Sequence[int]] | None = None
    subsets: Mapping[str, Subset | None] = field(default_factory=lambda: {"top1": None})
    border: int = 0

    @property
    def fingerprint(self) -> str:
        """Equal fingerprints mean equal images under an equal rule."""
        right = [
            None if rule is None else [sorted(labels) for labels in rule] for rule in (self.right, self.stands_for)
        ]
        return sha256_of(self.images.fingerprint, right, sorted(self.subsets.items()), self.border)


def hits(predicted: Int[np.ndarray, " n"], right: Sequence[Sequence[int]]) -> list[bool]:
    """Whether each image's prediction is among its right labels; images without any are skipped.

    Raises DataError if no image has a right label.
    """
    found = [label in labels for label, labels in zip(predicted.tolist(), right, strict=True) if len(labels)]
    if not found:
        raise DataError("no image has a label to compare with")
    return found


def evaluate(
    logits: Logits,
    sets: Iterable[ShiftedSet],
    *,
    image_size: int,
    batch_size: int = 256,
    model_fingerprint: str = "",
    cache_dir: Path | None = None,
) -> dict[str, dict[str, Any]]:
    """Accuracies of the classifier on every set: `{"<set>": {"<metric>": value in [0, 1], "n": images}}`.

    Beside them `correct`, bool [n], says which images count in `top1`; images without a right label are left out.

    Args:
      logits: the classifier, of a global batch of un-augmented images.
      sets: the test sets with their rules.
      image_size: pixels a side that the classifier takes.
      batch_size: images a call.
      model_fingerprint: of the classifier's weights; names the cached numbers together with the set's own.
      cache_dir: each set's numbers are kept there as soon as it is done, so that an interrupted evaluation goes on.

    Raises:
      DataError: a set has no labels, or an image of it is damaged.
      UserError: a logit is not finite.
    """
    found: dict[str, dict[str, Any]] = {}
    for shifted in sets:
        key = sha256_of(model_fingerprint, shifted.fingerprint, image_size, *sorted(method_of_numbers().items()))[:16]
        cache = cache_dir and cache_dir / f"{shifted.name.replace('/', '-')}-{key}.json"
        if cache and (cached := hosts.decided(_read_cache, cache, shifted)):
            found[shifted.name] = cached
            continue
        found[shifted.name] = _evaluate_one(logits, shifted, image_size, batch_size)
        scores = {metric: value for metric, value in found[shifted.name].items() if metric != "correct"}
        logging.info("%s: %s", shifted.name, scores)
        if cache:
            write_json(cache, _packed(found[shifted.name]))
    return found


def _evaluate_one(logits: Logits, shifted: ShiftedSet, image_size: int, batch_size: int) -> dict[str, Any]:
    right = shifted.right
    if right is None and shifted.images.num_classes is None:
        raise DataError(f"{shifted.name} has no labels to evaluate with: pass a labelled data set")
    predicted: dict[str, list[np.ndarray]] = {metric: [] for metric in shifted.subsets}
    labels: list[list[int]] = []
    for batch, count in eval_batches_on(make_mesh(), shifted.images, batch_size, image_size, border=shifted.border):
        seen = on_all_hosts({"logits": logits(batch["image"]), "labels": batch.get("label")})
        values = seen["logits"][:count].astype(np.float32)
        if not np.isfinite(values).all():
            raise UserError(f"the classifier's logits of {shifted.name} are not finite: finetune it again")
        for metric, subset in shifted.subsets.items():
            predicted[metric].append(argmax_of(values, subset))
        if right is None:
            own = seen["labels"][:count].tolist()
            labels += [[label] if shifted.stands_for is None else list(shifted.stands_for[label]) for label in own]
    rights = labels if right is None else right
    found = {metric: hits(np.concatenate(parts), rights) for metric, parts in predicted.items()}
    n = {len(each) for each in found.values()}.pop()
    correct = {"correct": np.array(found["top1"])} if "top1" in found else {}
    return {metric: sum(each) / n for metric, each in found.items()} | {"n": n} | correct


def _read_cache(path: Path, shifted: ShiftedSet) -> dict[str, Any] | None:
    """What `evaluate` left at `path`; None if that is nothing, damaged or of another form: it is made again."""
    try:
        scores = read_json(path)
        images = len(shifted.images)
        found = set(scores) - {"n", "correct"} == set(shifted.subsets) and 1 <= scores["n"] <= images
        if not found or ("correct" in scores) != ("top1" in scores):
            return None
        if "correct" in scores:
            check_correct(scores["correct"], scores["top1"], scores["n"])
        return _unpacked(scores) if all(0 <= scores[name] <= 1 for name in shifted.subsets) else None
    except (DataError, TypeError, ValueError, KeyError):
        return None


def _packed(scores: dict[str, Any]) -> dict[str, Any]:
    """The scores as JSON values."""
    return scores | ({"correct": pack_correct(scores["correct"])} if "correct" in scores else {})


def _unpacked(scores: dict[str, Any]) -> dict[str, Any]:
    """The inverse of `_packed`."""
    return scores | ({"correct": unpack_correct(scores["correct"], scores["n"])} if "correct" in scores else {})
