"""Few-shot classification of a run on the scale's data sets (Figure 5: nine of them)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from absl import flags, logging

from can import data, train
from can.config import RunConfig
from can.data import ImageSet
from can.evals import few_shot as shots
from can.evals.encoder import Encoder
from can.runs import EvalRecord, RunDir
from experiments.harness import run_flags

# Name, training split, test split. The paper's nine sets in TFDS, and nine that packages alone give.
TFDS_SETS = (
    ("caltech_birds2011", "train", "test"),
    ("caltech101", "train", "test"),
    ("cars196", "train", "test"),
    ("cifar100", "train", "test"),
    ("colorectal_histology", "train[:2000]", "train[2000:]"),
    ("dtd", "train", "test"),
    ("imagenet2012_subset/10pct", "train", "validation"),
    ("oxford_iiit_pet", "train", "test"),
    ("uc_merced", "train[:1000]", "train[1000:]"),
)
OFFLINE_SETS = tuple(
    (name, "train", "test")
    for name in ("clipart", "digits", "emoji", "fashion_mnist", "glyphs", "icons", "scripts", "sprites", "stamps")
)
FEW_SHOT_SETS = {
    "smoke": (("smoke", "train", "test"),),
    "laptop": OFFLINE_SETS,
    "overnight": OFFLINE_SETS,
    "gpu": TFDS_SETS,
    "paper": TFDS_SETS,
}


class _Pair(NamedTuple):
    train: ImageSet
    test: ImageSet


def few_shot(config: RunConfig, run: RunDir, rule: str = "lsr") -> list[EvalRecord]:
    """See `can.evals.few_shot`; an interrupted one finds the features that it has extracted."""
    protocol = dataclasses.replace(run_flags.scale().few_shot, rule=rule)
    sets, encoder = _load_sets(), _load_encoder(config, run)
    records = []
    for pair in sets:
        logging.info("few-shot: %s", pair.train.name)
        cache = run.work / "features"
        found = shots.evaluate(encoder, pair.train, pair.test, protocol, seed=config.seed, cache_dir=cache)
        found.pop("n")
        records += _records(pair, found, config.seed, dataclasses.asdict(protocol))
    return records


def few_shot_mean_rank(config: RunConfig, run: RunDir) -> list[EvalRecord]:
    """Few-shot by `lsr` with the penalty of `can.evals.few_shot.best_l2_by_mean_rank`, one for each number of shots.

    That rule chooses by the accuracies on the test sets: it is there to compare with numbers made so.
    """
    protocol = dataclasses.replace(run_flags.scale().few_shot, rule="lsr")
    sets, encoder = _load_sets(), _load_encoder(config, run)
    cache, grid = run.work / "features", shots.L2_GRID
    tables = [
        shots.accuracies(encoder, pair.train, pair.test, protocol, seed=config.seed, l2s=grid, cache_dir=cache)
        for pair in sets
    ]
    best = {k: shots.best_l2_by_mean_rank(np.stack([table[k].mean(0) for table in tables])) for k in protocol.shots}
    described = dataclasses.asdict(protocol) | {"l2": {f"{k}shot": grid[column] for k, column in best.items()}}
    records = []
    for pair, table in zip(sets, tables, strict=True):
        found = shots.summary({k: table[k][:, column] for k, column in best.items()})
        records += _records(pair, found, config.seed, described)
    return records


def _load_sets() -> list[_Pair]:
    """The scale's sets, all opened before the first is encoded: a missing one is found out at once."""
    values = flags.FLAGS
    return [
        _Pair(*(data.load(name, split, data_dir=values.data_dir) for split in splits))
        for name, *splits in FEW_SHOT_SETS[run_flags.scale().name]
    ]


def _load_encoder(config: RunConfig, run: RunDir) -> Encoder:
    return Encoder.from_model(train.load_encoder(config, run))


def _records(pair: _Pair, found: Mapping[str, float], seed: int, protocol: dict[str, Any]) -> list[EvalRecord]:
    name = pair.train.name
    described = {
        "name": "few_shot",
        "train": f"{name} {pair.train.split}",
        "test": f"{name} {pair.test.split}",
    } | protocol
    return [
        EvalRecord(metric=f"{name}/{metric}", value=value, n=len(pair.test), seed=seed, protocol=described)
        for metric, value in found.items()
    ]
