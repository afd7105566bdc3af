"""Few-shot classification of a run on the scale's data sets (Figure 5: nine of them)."""

from __future__ import annotations

import dataclasses

import run_flags
from absl import flags, logging

from can import data, train
from can.config import RunConfig
from can.evals import few_shot as shots
from can.evals.encoder import Encoder
from can.runs import EvalRecord, RunDir

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


def few_shot(config: RunConfig, run: RunDir) -> list[EvalRecord]:
    """See `can.evals.few_shot`; an interrupted one finds the features that it has extracted."""
    scale, values = run_flags.scale(), flags.FLAGS
    # All sets are opened before the first is encoded: a missing one is found out at once.
    loaded = [
        (name, *(data.load(name, split, data_dir=values.data_dir) for split in splits))
        for name, *splits in FEW_SHOT_SETS[scale.name]
    ]
    encoder = Encoder.from_model(train.load_encoder(config, run))
    records = []
    for name, train_set, test_set in loaded:
        logging.info("few-shot: %s", name)
        found = shots.evaluate(
            encoder, train_set, test_set, scale.few_shot, seed=config.seed, cache_dir=run.work / "features"
        )
        n = int(found.pop("n"))
        protocol = {"name": "few_shot", "train": f"{name} {train_set.split}", "test": f"{name} {test_set.split}"}
        protocol |= dataclasses.asdict(scale.few_shot)
        records += [
            EvalRecord(metric=f"{name}/{metric}", value=value, n=n, seed=config.seed, protocol=protocol)
            for metric, value in found.items()
        ]
    return records
