"""One run: pre-training if it is not done, then the evaluations that are not done."""

from __future__ import annotations

from collections.abc import Iterable

from absl import flags, logging

from can import data, train
from can.config import RunConfig
from can.errors import check_choice
from can.runs import RunDir
from can.sharding import make_mesh
from experiments.harness import run_flags
from experiments.harness.evaluations import EVALS


def pretrain(config: RunConfig, run: RunDir) -> None:
    """Pre-trains the run, or goes on where it stopped, unless its weights are here already."""
    scale, values = run_flags.scale(), flags.FLAGS
    if run.pretrained and run.has_weights and not values.force:
        run.claim(config)
        logging.info("%s is pre-trained already", run.name)
        return
    # All that can be wrong is found out before the first file is written.
    images = data.load(config.data.name, config.data.split, data_dir=values.data_dir)
    train.abstract_state(config, images.num_classes)
    run.claim(config, force=values.force)
    train.pretrain(
        config,
        run,
        images,
        mesh=make_mesh(fsdp=values.fsdp),
        workers=scale.workers,
        checkpoint_every=scale.checkpoint_every,
        log_every=scale.log_every,
    )


def evaluate(config: RunConfig, run: RunDir, names: Iterable[str]) -> None:
    """Makes the evaluations of `names` that the run does not have yet; it must be pre-trained."""
    for name in names:
        check_choice("evaluation", name, EVALS)
        if run.has_eval(name) and not flags.FLAGS.force:
            logging.info("%s has its %s already", run.name, name)
            continue
        run.write_eval(name, EVALS[name](config, run))


def complete(config: RunConfig, run: RunDir, names: Iterable[str] = ("linear_probe",)) -> None:
    """Pre-trains and evaluates what is missing; returns at once if nothing is."""
    names = tuple(names)
    if flags.FLAGS.force or (reason := run.reason_to_train(names)) is not None:
        if not flags.FLAGS.force:
            logging.info("%s", reason)
        pretrain(config, run)
    else:
        run.claim(config)
    evaluate(config, run, names)
