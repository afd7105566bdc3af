"""The linear probe of a run, on the labelled data of its scale."""

from __future__ import annotations

import dataclasses

from absl import flags

from can import data, train
from can.config import RunConfig
from can.evals import linear_probe as probe
from can.evals.encoder import Encoder
from can.runs import EvalRecord, RunDir
from experiments.harness import run_flags


def linear_probe(config: RunConfig, run: RunDir) -> list[EvalRecord]:
    """See `can.evals.linear_probe`."""
    scale, values = run_flags.scale(), flags.FLAGS
    labelled = scale.data["in1k"]
    train_set = data.load(labelled, values.train_split, data_dir=values.data_dir)
    test_set = data.load(labelled, scale.test_split, data_dir=values.data_dir)
    encoder = Encoder.from_model(train.load_encoder(config, run))
    cache = run.work / "features" if scale.linear_probe.cache_features else None
    found = probe.evaluate(encoder, train_set, test_set, scale.linear_probe, seed=config.seed, cache_dir=cache)
    protocol = {
        "name": "linear_probe",
        "train": f"{labelled} {values.train_split}",
        "test": f"{labelled} {scale.test_split}",
    } | dataclasses.asdict(scale.linear_probe)
    n = int(found.pop("n"))
    return [
        EvalRecord(metric=metric, value=value, n=n, seed=config.seed, protocol=protocol)
        for metric, value in found.items()
    ]
