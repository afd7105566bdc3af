"""Few-shot classification of a run on the scale's data sets (Figure 5: nine of them)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from can import data, trained
from can.commands.evaluations import labelled
from can.commands.evaluations.records import records_of
from can.commands.scales import SCALES
from can.commands.setting import Run, Setting
from can.config import FewShotConfig
from can.data import ImageSet
from can.evals import few_shot as shots
from can.evals.encoder import Encoder
from can.runs import EvalRecord


class Pair(NamedTuple):
    """What is learnt from, and what is tested on.

    Attributes:
      name: of the set, in metrics and tables.
      train, test: its splits.
      source: the set as `can.data.load` takes it, where that has this machine's folders; empty: its name.
    """

    name: str
    train: str
    test: str
    source: str = ""

    def load(self, split: str, setting: Setting) -> ImageSet:
        """One of the two splits."""
        return data.load(self.source or self.name, split, data_dir=setting.data_dir)


# The paper's nine sets in TFDS, and nine that packages alone give.
TFDS_SETS = (
    Pair("caltech_birds2011", "train", "test"),
    Pair("caltech101", "train", "test"),
    Pair("cars196", "train", "test"),
    Pair("cifar100", "train", "test"),
    Pair("colorectal_histology", "train[:2000]", "train[2000:]"),
    Pair("dtd", "train", "test"),
    Pair("imagenet2012_subset/10pct", "train", "validation"),
    Pair("oxford_iiit_pet", "train", "test"),
    Pair("uc_merced", "train[:1000]", "train[1000:]"),
)
OFFLINE_SETS = (
    Pair("cifar10", "train[25000:]", "test[:5000]"),  # the first half of its training images are in the mix
    *(
        Pair(name, "train", "test")
        for name in ("climate", "drawings", "emoji", "icons", "landscapes", "letters", "photographs", "sprites")
    ),
)
SETS = {
    "smoke": (Pair("smoke", "train", "test"),),
    "laptop": OFFLINE_SETS,
    "evening": OFFLINE_SETS,
    "overnight": OFFLINE_SETS,
    "gpu": TFDS_SETS,
    "paper": TFDS_SETS,
}


def sets_of(setting: Setting) -> tuple[Pair, ...]:
    """The scale's sets; where flags say which labelled images are learnt from or tested on, those alone."""
    usual = SCALES[setting.scale.name]
    told = (setting.labelled, setting.train_split, setting.scale.test_split)
    if told == (usual.data["in1k"], "train", usual.test_split):
        return SETS[setting.scale.name]
    name, train, test = labelled.name_of(setting.labelled), setting.train_split, setting.scale.test_split
    return (Pair(name, train, test, setting.labelled),)


class FewShot:
    """See `can.evals.few_shot`; an interrupted one finds the features that it has extracted."""

    def __init__(self, rule: str) -> None:
        self.rule = rule

    def protocol(self, setting: Setting, run: Run) -> dict[str, Any]:
        """The scale's by this rule, and the sets."""
        sets = [f"{pair.name} {pair.train} {pair.test}" for pair in sets_of(setting)]
        return {"name": "few_shot", "sets": sets} | dataclasses.asdict(self._config(setting))

    def images(self, setting: Setting) -> dict[str, ImageSet]:
        """Every split of every set."""
        return {
            f"{pair.name} {split}": pair.load(split, setting)
            for pair in sets_of(setting)
            for split in (pair.train, pair.test)
        }

    def measure(self, setting: Setting, run: Run, images: Mapping[str, Any]) -> list[EvalRecord]:
        """Metrics `<set>/<k>shot` and `<set>/<k>shot_sd`."""
        encoder = Encoder.from_model(trained.load_encoder(run.config, run.folder))
        records = []
        for pair in sets_of(setting):
            logging.info("few-shot: %s", pair.name)
            splits = images[f"{pair.name} {pair.train}"], images[f"{pair.name} {pair.test}"]
            cache = run.folder.work / "features"
            found = shots.evaluate(encoder, *splits, self._config(setting), seed=run.config.seed, cache_dir=cache)
            records += records_of(found, run, prefix=f"{pair.name}/")
        return records

    def _config(self, setting: Setting) -> FewShotConfig:
        return dataclasses.replace(setting.scale.few_shot, rule=self.rule)


class FewShotMeanRank(FewShot):
    """By `lsr` with the penalty of `can.evals.few_shot.best_l2_by_mean_rank`, one for each number of shots.

    That rule chooses by the accuracies on the test sets: it is there to compare with numbers made so.
    """

    def __init__(self) -> None:
        super().__init__("lsr")

    def protocol(self, setting: Setting, run: Run) -> dict[str, Any]:
        """The base's protocol, with the rule instead of the penalty."""
        return super().protocol(setting, run) | {"l2": "by mean rank over the test sets"}

    def measure(self, setting: Setting, run: Run, images: Mapping[str, Any]) -> list[EvalRecord]:
        """The base's records, of the penalty that the rule chooses."""
        config, seed = self._config(setting), run.config.seed
        encoder = Encoder.from_model(trained.load_encoder(run.config, run.folder))
        cache, pairs = run.folder.work / "features", sets_of(setting)
        tests = [images[f"{pair.name} {pair.test}"] for pair in pairs]
        tables = [
            shots.hits(
                encoder,
                images[f"{pair.name} {pair.train}"],
                test,
                config,
                seed=seed,
                l2s=shots.L2_GRID,
                cache_dir=cache,
            )
            for pair, test in zip(pairs, tests, strict=True)
        ]
        best = {
            k: shots.best_l2_by_mean_rank(np.stack([table.right[k].mean(-1).mean(0) for table in tables]))
            for k in config.shots
        }
        records = []
        for pair, table in zip(pairs, tables, strict=True):
            found = shots.summary({k: table.right[k][:, column] for k, column in best.items()}, table.short_classes)
            records += records_of(found, run, prefix=f"{pair.name}/")
        return records
