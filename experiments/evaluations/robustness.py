"""Robustness of a run's finetuned model: the paper's seven sets, or stand-ins built by code at the small scales."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import run_flags
from absl import flags
from flax import nnx
from jaxtyping import Array

from can import data, train
from can.augment import eval_view
from can.config import RunConfig
from can.data.shifts.corruptions import CORRUPTIONS
from can.data.tfds_records import read_label_lists
from can.evals import robustness as shifts
from can.evals.class_subsets import imagenet_subset, objectnet_classes, objectnet_labels
from can.evals.corruption_error import ALEXNET_ERROR, mean_corruption_error
from can.evals.encoder import fingerprint_of
from can.evals.finetune import is_finetuned, load_finetuned
from can.evals.robustness import ShiftedSet
from can.runs import EvalRecord, RunDir
from evaluations.finetune import finetune

# What was built by code is named after its base (can.data.shifts): the first is the test set itself.
BUILT = ("", "_v2", "_corruptions", "_sketch", "_rendition", "_background", "_adversarial")
NEEDS_PHOTOS = ("_background",)  # a download; the smoke scale has none
IMAGENET_C = "imagenet2012_corrupted"  # in TFDS
BUILT_FOR = ("smoke", "laptop", "overnight")
RULES = {
    "imagenet2012_real": "images without labels are left out; right is every label of the list",
    "imagenet_a": "argmax over the 200 classes of the set",
    "imagenet_r": "argmax over the 200 classes of the set",
    "objectnet": "2 pixels of border cut off; 113 classes; top1: argmax over the ImageNet classes they stand for, "
    "any of them is right; top1_of_all: argmax over all 1000",
}


def robustness(config: RunConfig, run: RunDir) -> list[EvalRecord]:
    """See `can.evals.robustness`; an interrupted one finds the sets that it has done.

    Finetunes first where that is not done, or was done on another machine.
    """
    scale, values = run_flags.scale(), flags.FLAGS
    built = scale.name in BUILT_FOR
    # All sets are opened before the first image is classified: a missing one is found out at once.
    sets = list(_built_sets(scale.name, scale.data["in1k"], values.data_dir) if built else _imagenet_sets(values))
    num_classes = sets[0].images.num_classes
    assert num_classes is not None
    work_dir = run.work / "finetune"
    if not is_finetuned(work_dir):
        finetune(config, run)
    model = load_finetuned(train.load_encoder(config, run), num_classes, work_dir)

    @jax.jit
    def logits(images: Array) -> Array:
        return model.logits(eval_view(images))

    found = shifts.evaluate(
        logits,
        sets,
        image_size=config.model.image_size,
        model_fingerprint=fingerprint_of(*nnx.split(model), config.model.image_size),
        cache_dir=run.work / "robustness",
    )
    return [
        EvalRecord(metric=metric, value=value, n=n, seed=config.seed, protocol=protocol)
        for metric, value, n, protocol in _summarised(found)
    ]


def _built_sets(scale: str, base: str, data_dir: str) -> Iterator[ShiftedSet]:
    for suffix in BUILT:
        if scale == "smoke" and suffix in NEEDS_PHOTOS:
            continue
        for split in CORRUPTIONS if suffix == "_corruptions" else ("test",):
            name = f"{base}{suffix}"
            whole = name if split == "test" else f"{name}/{split}"
            yield ShiftedSet(whole, data.load(name, split, data_dir=data_dir))


def _imagenet_sets(values: flags.FlagValues) -> Iterator[ShiftedSet]:
    def load(name: str, split: str = "test") -> data.ImageSet:
        return data.load(name, split, data_dir=values.data_dir)

    yield ShiftedSet("imagenet2012", load("imagenet2012", "validation"))
    yield ShiftedSet("imagenet_v2", load("imagenet_v2/matched-frequency"))
    right = read_label_lists("imagenet2012_real", "validation", "real_label", Path(values.data_dir))
    yield ShiftedSet("imagenet2012_real", load("imagenet2012_real", "validation"), right=right)
    for name in ("imagenet_a", "imagenet_r"):
        yield ShiftedSet(name, load(name), subsets={"top1": imagenet_subset(name)})
    yield ShiftedSet("imagenet_sketch", load("imagenet_sketch"))
    if values.objectnet:
        images = load(f"folder:{values.objectnet}", "train")
        stands_for = [objectnet_classes().get(folder, ()) for folder in images.class_names]
        subsets = {"top1": objectnet_labels(), "top1_of_all": None}
        yield ShiftedSet("objectnet", images, stands_for=stands_for, subsets=subsets, border=2)
    if values.imagenet_c:
        for kind in ALEXNET_ERROR:
            for severity in range(1, 6):
                name = f"{IMAGENET_C}/{kind}_{severity}"
                yield ShiftedSet(name, load(name, "validation"))


def _summarised(found: dict[str, dict[str, Any]]) -> Iterator[tuple[str, float, int, dict[str, str]]]:
    """Metric, value, number of images and protocol; the kinds of damage of one set are also averaged."""
    damaged: dict[str, dict[str, dict[str, Any]]] = {}  # set -> kind -> scores
    for name, scores in found.items():
        base, _, kind = name.partition("/")
        if kind:
            damaged.setdefault(base, {})[kind] = scores
        protocol = {"name": "robustness", "rule": RULES.get(name, "argmax over all classes")}
        for metric in scores.keys() - {"n"}:
            yield name if kind else f"{name}/{metric}", scores[metric], scores["n"], protocol
    for base, kinds in damaged.items():
        n = sum(scores["n"] for scores in kinds.values())
        protocol = {"name": "robustness", "rule": f"mean over {len(kinds)} kinds and strengths of damage"}
        yield f"{base}/top1", statistics.fmean(scores["top1"] for scores in kinds.values()), n, protocol
        if base == IMAGENET_C:
            accuracies: dict[str, list[float]] = {}
            for kind, scores in kinds.items():
                accuracies.setdefault(kind.rpartition("_")[0], []).append(scores["top1"])
            protocol = {"name": "robustness", "rule": "mean corruption error, relative to AlexNet's"}
            yield f"{base}/mce", mean_corruption_error(accuracies), n, protocol
