"""Others' weights as a run that is pre-trained already, so that every evaluation can be made of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from absl import logging
from flax import nnx

from can import training_step
from can.commands.setting import Run, Setting
from can.commands.spec import Spec
from can.config import AugmentConfig, DataConfig, OptimConfig, RunConfig
from can.errors import ConfigError
from can.methods.kinds import split_method
from can.methods.random_init import RandomInitSettings
from can.models.fingerprint import fingerprint_of
from can.runs import RunDir
from can.runs.checkpoint import Checkpoints
from can.runs.folder import FOREIGN
from can.runs.provenance import provenance_of_evaluation
from can.system.checksums import checksum_of
from can.system.files import write_atomic, write_json
from can.weights.files import file_of, read_weights
from can.weights.load import encoder_from


def run_of_weights(setting: Setting, path: Path, name: str, seed: int, given: Mapping[str, Any]) -> Run:
    """The run `name` whose encoder has the weights in `path`: made if it is not there, else checked to be of them.

    Its configuration is that of an untrained encoder of the same shape; `provenance.json` says where its weights are
    from. `given` has fields of `Described`, which go before what the files beside the weights say.

    Raises ConfigError for weights that cannot be ours, and if the name belongs to others.
    """
    begun = time.monotonic()
    weights, described = read_weights(path)
    encoder = encoder_from(weights, described.but(**given))
    config = RunConfig(
        scale=setting.scale.name,
        epochs=0,
        seed=seed,
        model=encoder.config,
        method=RandomInitSettings(),
        augment=AugmentConfig("none"),
        data=DataConfig(FOREIGN),
        optim=OptimConfig(base_lr=0, weight_decay=0, batch_size=1, total_steps=0, warmup_steps=0),
    )
    run = Run(
        Spec("random", encoder.config.size, FOREIGN, 0),
        config,
        RunDir(setting.results_dir, setting.workdir, setting.scale.name, name, setting.checkpoints),
    )
    params = nnx.split(encoder)[1]
    fingerprint = fingerprint_of(params, config.model, config.model.image_size)
    if run.folder.pretrained and run.folder.weights != fingerprint:
        raise ConfigError(f"{run.folder.results} is of other weights than {path}: pass another --name")
    with run.folder.locked():
        run.folder.claim(config)
        if not (run.folder.pretrained and run.folder.has_weights):
            _, state = training_step.init_state(config)
            graphdef, method_params, batch_stats = split_method(training_step.new_method(config))
            method = nnx.merge(graphdef, method_params, batch_stats)
            method.encoder = encoder
            state = state._replace(params=split_method(method)[1])
            with Checkpoints(run.folder.checkpoints, owner=run.folder.owner(config)) as checkpoints:
                checkpoints.clear()
                checkpoints.save(0, state._replace(step=jnp.zeros((), jnp.int32)), wait=True)
            write_atomic(run.folder.results / "train.csv", "step\n")
            source = {"file": file_of(path).name, "sha256": checksum_of(file_of(path))}
            record = provenance_of_evaluation(begun) | {"data": {}, "weights": fingerprint, "source": source}
            write_json(run.folder.results / "provenance.json", record)
            logging.info("%s has the weights of %s", name, path)
    return run
