"""Robustness of a run's finetuned model on shifted test sets."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

import jax
from absl import flags
from flax import nnx
from jaxtyping import Array

from can import train
from can.augment import eval_view
from can.config import RunConfig
from can.evals import robustness as shifts
from can.evals.corruption_error import mean_corruption_error
from can.evals.finetune import is_finetuned, load_finetuned
from can.models.fingerprint import fingerprint_of
from can.runs import EvalRecord, RunDir
from experiments.harness import run_flags
from experiments.harness.evaluations.finetune import finetune
from experiments.harness.evaluations.shifted_sets import IMAGENET_C, rule_of, shifted_sets


def robustness(config: RunConfig, run: RunDir) -> list[EvalRecord]:
    """See `can.evals.robustness`; an interrupted one finds the sets that it has done.

    Finetunes first where that is not done, or was done on another machine.
    """
    scale, values = run_flags.scale(), flags.FLAGS
    sets = shifted_sets(scale.data["in1k"], values.data_dir, objectnet=values.objectnet, imagenet_c=values.imagenet_c)
    num_classes = sets[0].images.num_classes
    assert num_classes is not None
    work_dir = run.work / "finetune"
    if not is_finetuned(work_dir):
        finetune(config, run)
    graphdef, params = nnx.split(load_finetuned(train.load_encoder(config, run), num_classes, work_dir))

    @jax.jit
    def logits(params: nnx.State, images: Array) -> Array:
        return nnx.merge(graphdef, params).logits(eval_view(images))

    found = shifts.evaluate(
        lambda images: logits(params, images),
        sets,
        image_size=config.model.image_size,
        model_fingerprint=fingerprint_of(params, config.model, config.model.image_size),
        cache_dir=run.work / "robustness",
    )
    return [
        EvalRecord(metric=metric, value=value, n=n, seed=config.seed, protocol={"name": "robustness", "rule": rule})
        for metric, value, n, rule in summarised(found)
    ]


def summarised(found: dict[str, dict[str, Any]]) -> Iterator[tuple[str, float, int, str]]:
    """Metric, value, number of images and rule; the kinds of damage of one set are also averaged."""
    damaged: dict[str, dict[str, dict[str, Any]]] = {}  # set -> kind -> scores
    for name, scores in found.items():
        base, _, kind = name.partition("/")
        if kind:
            damaged.setdefault(base, {})[kind] = scores
        for metric in scores.keys() - {"n"}:
            yield name if kind else f"{name}/{metric}", scores[metric], scores["n"], rule_of(name)
    for base, kinds in damaged.items():
        n = sum(scores["n"] for scores in kinds.values())
        yield f"{base}/top1", statistics.fmean(scores["top1"] for scores in kinds.values()), n, rule_of(base)
        if base == IMAGENET_C:
            accuracies: dict[str, list[float]] = {}
            for kind, scores in kinds.items():
                accuracies.setdefault(kind.rpartition("_")[0], []).append(scores["top1"])
            yield f"{base}/mce", mean_corruption_error(accuracies), n, "mean corruption error, relative to AlexNet's"
