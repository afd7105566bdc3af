"""One run: pre-training if it is not done, then the evaluations that are not done."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterable, Iterator, Sequence

from absl import logging

from can import data, train, training_step
from can import replay as replaying
from can.commands.done import Done, fingerprints_of, images_of, look, look_at_kept, protocol_of
from can.commands.evaluations import EVALS
from can.commands.setting import Run, Setting
from can.data import ImageSet
from can.errors import ConfigError
from can.evals.beside_training import BesideTraining
from can.runs import Evaluated, numerics
from can.runs.belonging import bring_back
from can.runs.checkpoint import Checkpoints
from can.runs.images import FILE as IMAGES
from can.runs.images import ImageHistory
from can.runs.provenance import described, provenance_of_evaluation
from can.sharding import make_mesh
from can.system import hosts
from can.trained import weights_of


def complete(setting: Setting, run: Run, evals: Iterable[str]) -> None:
    """Pre-trains and evaluates what is missing, alone on the run; returns at once if nothing is.

    Raises ConfigError, before anything is made, if something of it was made with other settings.
    """
    complete_seeds(setting, [run], evals)


def complete_seeds(setting: Setting, runs: Sequence[Run], evals: Iterable[str]) -> None:
    """As `complete`, for runs that differ in their seeds alone: one program pre-trains them.

    Raises ConfigError, before anything is made, if something of them was made with other settings.
    """
    evals = tuple(evals)
    images = None
    if any(hosts.decided(run.folder.reason_to_train, evals) for run in runs):
        images = _checked_images(setting, runs)  # before any folder is made
    with contextlib.ExitStack() as held:
        for run in runs:
            held.enter_context(run.folder.locked())
        done = {run: hosts.decided(look, setting, run, evals) for run in runs}
        to_train = [run for run in runs if done[run].reason_to_train]
        for run in to_train:
            logging.info("%s", done[run].reason_to_train)
        if to_train:
            _pretrain(setting, to_train, images or _checked_images(setting, to_train))
        for run in runs:
            now = hosts.decided(look, setting, run, evals, True) if run in to_train else done[run]
            _evaluate(setting, run, evals, now)


def pretrain(setting: Setting, run: Run) -> None:
    """Pre-trains the run, or goes on where it stopped, unless its weights are here already."""
    images = _checked_images(setting, [run])  # before any folder is made
    with run.folder.locked():
        done = hosts.decided(look, setting, run, ())
        if done.has_weights and not done.reason_to_train:
            logging.info("%s is pre-trained already", run.folder.name)
            return
        _pretrain(setting, [run], images)


def replay(setting: Setting, run: Run) -> Iterator[tuple[int, dict[str, float]]]:
    """The steps from the last checkpoint to the one that was not finite, made again; writes nothing."""
    images = _checked_images(setting, [run])
    run.folder.claim(run.config)
    mesh = make_mesh(fsdp=setting.fsdp)
    return replaying.replay(run.config, run.folder, images, mesh=mesh, workers=setting.scale.workers)


def evaluate(setting: Setting, run: Run, evals: Iterable[str]) -> None:
    """Makes the evaluations that the run does not have yet; it must be pre-trained.

    Raises ConfigError, before anything is made, if it is not, or for an evaluation that does not exist.
    """
    evals = tuple(evals)
    setting = dataclasses.replace(setting, force=tuple(name for name in setting.force if name != "train"))
    if hosts.decided(look, setting, run, evals).stage in ("absent", "begun"):
        raise ConfigError(f"{run.folder.name} is not pre-trained to its end: pre-train it with the same flags first")
    with run.folder.locked():
        _evaluate(setting, run, evals, hosts.decided(look, setting, run, evals))


def evaluate_at(setting: Setting, run: Run, step: int, evals: Iterable[str]) -> Run:
    """Makes the evaluations of a checkpoint that is kept, also of a run that is not finished; returns where they lie.

    Raises ConfigError if there is no such checkpoint, or the run's folders are of another configuration.
    """
    evals = tuple(evals)
    kept = run._replace(folder=run.folder.at(step))
    run.folder.claim(run.config)
    weights = weights_of(kept.config, kept.folder)
    hosts.decided(look_at_kept, setting, kept, evals, weights)  # before any folder is made
    with kept.folder.locked():
        _evaluate(setting, kept, evals, hosts.decided(look_at_kept, setting, kept, evals, weights), weights)
    return kept


def _checked_images(setting: Setting, runs: Sequence[Run]) -> ImageSet:
    """What is trained on. Raises UserError for all that can be wrong, before a file is written or deleted."""
    images = images_of(setting, runs[0])
    _beside(setting)
    training_step.abstract_state(runs[0].config, images.num_classes)
    make_mesh(fsdp=setting.fsdp)
    for run in runs:
        Checkpoints(run.folder.checkpoints)
    return images


def _pretrain(setting: Setting, runs: Sequence[Run], images: ImageSet) -> None:
    hosts.check_equal({"set of images": images.fingerprint})
    for run in runs:
        hosts.decided(_begin, setting, run, images)
    train.pretrain_seeds(
        [(run.config, run.folder) for run in runs],
        images,
        mesh=make_mesh(fsdp=setting.fsdp),
        workers=setting.scale.workers,
        checkpoint_every=setting.scale.checkpoint_every,
        checkpoint_seconds=setting.scale.checkpoint_seconds,
        keep_every=setting.scale.keep_every,
        log_every=setting.scale.log_every,
        skip_bad=setting.skip_bad_images,
        beside=_beside(setting),
        profile=setting.profile,
        write_to=setting.write_to,
    )


def _beside(setting: Setting) -> BesideTraining | None:
    """What looks at the encoder while it trains, if that is asked for, by labelled images of the training split."""
    if setting.probe_every is None:
        return None
    images = data.load(setting.labelled, setting.train_split, data_dir=setting.data_dir)
    return BesideTraining(images, setting.probe_every, setting.scale.knn)


def _begin(setting: Setting, run: Run, images: ImageSet) -> None:
    """Takes the run's folders for a training that begins, or goes on, with these images."""
    if "train" in setting.force:
        run.folder.forget_training()
    run.folder.claim(run.config)
    step, noted = Checkpoints(run.folder.checkpoints).latest_step, run.folder.work / IMAGES
    if step is not None and not noted.exists():  # without it, nobody would see that the images are others now
        bring_back(run.folder.checkpoints / str(step), noted.parent, [IMAGES])
    history = ImageHistory(noted)
    if different := history.changed(described(images)):
        if "images" not in setting.force:
            raise ConfigError(
                f"{run.folder.name} was begun on other images than its data set has now:\n{different}\n"
                "pass --force=train to start anew, or --force=images to go on from "
                f"step {step or 0} with the images of now, which provenance.json then tells"
            )
        logging.warning("%s goes on from step %d with other images:\n%s", run.folder.name, step or 0, different)
    numerics.check_same(run.folder.work / "numerics.json", begun=step is not None)
    history.note(described(images), step or 0)


def _evaluate(setting: Setting, run: Run, evals: Iterable[str], done: Done, weights: str | None = None) -> None:
    """Makes those of `evals` that are not done; `weights` is the encoder's fingerprint, by default the run's."""
    for name in evals:
        if name not in done.missing:
            logging.info("%s has its %s already", run.folder.name, name)
            continue
        evaluation, begun = EVALS[name], time.monotonic()
        protocol, images = protocol_of(setting, run, name), evaluation.images(setting)
        if name in done.to_forget:
            hosts.decided(run.folder.forget_eval, name)
        hosts.check_equal({f"set of images ({of})": entry.fingerprint for of, entry in images.items()})
        records = evaluation.measure(setting, run, images)
        fingerprints = {"weights": weights or run.folder.weights} | fingerprints_of(images)
        made = Evaluated(protocol, fingerprints, provenance_of_evaluation(begun), records)
        made.write(run.folder.eval_path(name))
        hosts.wait_for_all(f"{name} is written")
