"""One run: pre-training if it is not done, then the evaluations that are not done."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping

from absl import logging

from can import data, train
from can.data import ImageSet
from can.errors import ConfigError, check_choice
from can.runs import Evaluated
from can.runs import replay as replaying
from can.runs.checkpoint import Checkpoints
from can.runs.images import ImageHistory
from can.runs.name import differences
from can.runs.provenance import described, provenance_of_evaluation
from can.sharding import make_mesh
from can.system import hosts
from experiments.harness.evaluations import EVALS
from experiments.harness.evaluations.evaluation import Fingerprinted
from experiments.harness.setting import Run, Setting


def complete(setting: Setting, run: Run, evals: Iterable[str]) -> None:
    """Pre-trains and evaluates what is missing, alone on the run; returns at once if nothing is.

    Raises ConfigError, before anything is made, if something of it was made with other settings.
    """
    evals = tuple(evals)
    images = None
    if hosts.decided(run.folder.reason_to_train, evals):
        images = _checked_images(setting, run)  # before any folder is made
    with run.folder.locked():
        if reason := hosts.decided(_reason, setting, run, evals):
            logging.info("%s", reason)
            _pretrain(setting, run, images or _checked_images(setting, run))
        _evaluate(setting, run, evals, trained=reason is not None)


def pretrain(setting: Setting, run: Run) -> None:
    """Pre-trains the run, or goes on where it stopped, unless its weights are here already."""
    images = _checked_images(setting, run)  # before any folder is made
    with run.folder.locked():
        if hosts.decided(_is_pretrained, setting, run, images):
            logging.info("%s is pre-trained already", run.folder.name)
            return
        _pretrain(setting, run, images)


def replay(setting: Setting, run: Run) -> Iterator[tuple[int, dict[str, float]]]:
    """The steps from the last checkpoint to the one that was not finite, made again; writes nothing."""
    images = _checked_images(setting, run)
    run.folder.claim(run.config)
    mesh = make_mesh(fsdp=setting.fsdp)
    return replaying.replay(run.config, run.folder, images, mesh=mesh, workers=setting.scale.workers)


def evaluate(setting: Setting, run: Run, evals: Iterable[str]) -> None:
    """Makes the evaluations that the run does not have yet; it must be pre-trained.

    Raises ConfigError, before anything is made, if it is not, or for an evaluation that does not exist.
    """
    evals = tuple(evals)
    for name in evals:
        check_choice("evaluation", name, EVALS)
    hosts.decided(_check_pretrained, run)
    with run.folder.locked():
        _evaluate(setting, run, evals, trained=False)


def is_done(setting: Setting, run: Run, evals: Iterable[str]) -> bool:
    """Whether nothing is left to do. Raises ConfigError if what is there was made with other settings."""
    missing = missing_evals(setting, run, evals)
    return reason_to_train(setting, run, missing) is None and not missing


def reason_to_train(setting: Setting, run: Run, missing: Iterable[str]) -> str | None:
    """Why pre-training must run before the `missing_evals` can be made, as a line for the user; None if it need not."""
    if "train" in setting.force:
        return f"{run.folder.name} is pre-trained anew"
    if run.folder.results.joinpath("config.json").exists():
        run.folder.claim(run.config)
    if run.folder.pretrained and run.config.optim.total_steps:
        _check_trained_on(run, _images_of(setting, run))
    return run.folder.reason_to_train(missing)


def _reason(setting: Setting, run: Run, evals: Iterable[str]) -> str | None:
    return reason_to_train(setting, run, missing_evals(setting, run, evals))


def missing_evals(setting: Setting, run: Run, evals: Iterable[str]) -> list[str]:
    """Those of `evals` that have to be made.

    Raises ConfigError, showing the differences, if one is there under another protocol, or of other images or weights.
    """
    missing = []
    for name in evals:
        check_choice("evaluation", name, EVALS)
        if setting.forces(name) or not run.folder.has_eval(name):
            missing.append(name)
            continue
        protocol = EVALS[name].protocol(setting, run)
        there = run.folder.read_eval(name)
        there.check_is(name, run.folder.eval_path(name), protocol, None)
        # Its images were at hand when it was made, and are read here to see that they are the same.
        asked = {"weights": there.fingerprints.get("weights", "")} | _fingerprints(EVALS[name].images(setting))
        if run.folder.pretrained and "train" not in setting.force:
            asked["weights"] = run.folder.weights
        there.check_is(name, run.folder.eval_path(name), protocol, asked)
    return missing


def _checked_images(setting: Setting, run: Run) -> ImageSet:
    """What is trained on. Raises UserError for all that can be wrong, before a file is written or deleted."""
    images = _images_of(setting, run)
    train.abstract_state(run.config, images.num_classes)
    make_mesh(fsdp=setting.fsdp)
    Checkpoints(run.folder.checkpoints)
    return images


def _pretrain(setting: Setting, run: Run, images: ImageSet) -> None:
    hosts.check_equal({"set of images": images.fingerprint})
    hosts.decided(_begin, setting, run, images)
    train.pretrain(
        run.config,
        run.folder,
        images,
        mesh=make_mesh(fsdp=setting.fsdp),
        workers=setting.scale.workers,
        checkpoint_every=setting.scale.checkpoint_every,
        checkpoint_seconds=setting.scale.checkpoint_seconds,
        keep_every=setting.scale.keep_every,
        log_every=setting.scale.log_every,
        skip_bad=setting.skip_bad_images,
    )


def _begin(setting: Setting, run: Run, images: ImageSet) -> None:
    """Takes the run's folders for a training that begins, or goes on, with these images."""
    if "train" in setting.force:
        run.folder.forget_training()
    run.folder.claim(run.config)
    history = ImageHistory(run.folder.work / "images.json")
    step = Checkpoints(run.folder.checkpoints).latest_step
    if different := history.changed(described(images)):
        if "images" not in setting.force:
            raise ConfigError(
                f"{run.folder.name} was begun on other images than its data set has now:\n{different}\n"
                "pass --force=train to start anew, or --force=images to go on from "
                f"step {step or 0} with the images of now, which provenance.json then tells"
            )
        logging.warning("%s goes on from step %d with other images:\n%s", run.folder.name, step or 0, different)
    history.note(described(images), step or 0)


def _images_of(setting: Setting, run: Run) -> ImageSet:
    return data.load(run.config.data.name, run.config.data.split, data_dir=setting.data_dir)


def _check_trained_on(run: Run, images: ImageSet) -> None:
    """Raises ConfigError, with the difference, if a finished run saw other images than its data set has now."""
    if run.config.optim.total_steps and (lines := differences(run.folder.provenance["data"], described(images))):
        raise ConfigError(
            f"{run.folder.name} was trained on other images than its data set has now:\n{lines}\n"
            "pass --force=train,evals to make it anew, or another --results_dir and --workdir to keep both"
        )


def _evaluate(setting: Setting, run: Run, evals: Iterable[str], *, trained: bool) -> None:
    """`trained`: whether this command has pre-trained the run: evaluations of older weights are then outdated."""
    hosts.decided(_check_pretrained, run)
    hosts.decided(run.folder.claim, run.config)
    for name in evals:
        evaluation, started = EVALS[name], time.time()
        outdated = hosts.decided(_is_outdated, run, name, trained)
        if not (outdated or hosts.decided(missing_evals, setting, run, [name])):
            logging.info("%s has its %s already", run.folder.name, name)
            continue
        protocol, images = evaluation.protocol(setting, run), evaluation.images(setting)
        if outdated or setting.forces(name):
            hosts.decided(run.folder.forget_eval, name)
        hosts.check_equal({f"set of images ({of})": entry.fingerprint for of, entry in images.items()})
        records = evaluation.measure(setting, run, images)
        fingerprints = {"weights": run.folder.weights} | _fingerprints(images)
        made = Evaluated(protocol, fingerprints, provenance_of_evaluation(started), records)
        made.write(run.folder.eval_path(name))
        hosts.wait_for_all(f"{name} is written")


def _is_pretrained(setting: Setting, run: Run, images: ImageSet) -> bool:
    """Whether there is nothing to train. Raises ConfigError if what is there was made with other settings."""
    if not (run.folder.pretrained and run.folder.has_weights) or "train" in setting.force:
        return False
    run.folder.claim(run.config)
    _check_trained_on(run, images)
    return True


def _check_pretrained(run: Run) -> None:
    if not run.folder.pretrained:
        raise ConfigError(f"{run.folder.name} is not pre-trained to its end: pre-train it with the same flags first")


def _is_outdated(run: Run, name: str, trained: bool) -> bool:
    """Whether an evaluation is of other weights than those that this command has `trained`."""
    there = trained and run.folder.has_eval(name)
    return there and run.folder.read_eval(name).fingerprints.get("weights") != run.folder.weights


def _fingerprints(images: Mapping[str, Fingerprinted]) -> dict[str, str]:
    return {name: entry.fingerprint for name, entry in images.items()}
