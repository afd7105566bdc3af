"""What of a run is done: one look at its folders, which all that follows goes by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

from can import data
from can.commands.evaluations import EVALS
from can.commands.evaluations.evaluation import Fingerprinted
from can.commands.setting import Run, Setting
from can.data import ImageSet
from can.errors import ConfigError, check_choice
from can.runs import numerics
from can.runs.name import differences
from can.runs.provenance import described


class Done(NamedTuple):
    """What of a run is done, of what is asked of it."""

    stage: Literal["absent", "begun", "trained", "evaluated"]  # evaluated: all that was asked for is there
    has_weights: bool  # whether the checkpoint of the last step is on this machine
    reason_to_train: str | None  # why pre-training must run before the missing can be made; None if it need not
    missing: tuple[str, ...]  # the evaluations that have to be made
    to_forget: tuple[str, ...]  # those of them that are there, but forced, or of weights before the last training


def look(setting: Setting, run: Run, evals: Iterable[str], just_trained: bool = False) -> Done:
    """What of a run is done, of pre-training and `evals`.

    `just_trained`: this command has pre-trained the run: evaluations of older weights are outdated then, and no
    mistake.

    Raises ConfigError, showing the differences, if something is there that was made with other settings, or of other
    images or weights.
    """
    folder, evals = run.folder, tuple(evals)
    for name in evals:
        check_choice("evaluation", name, EVALS)
    anew = "train" in setting.force and not just_trained
    claimed = (folder.results / "config.json").exists()
    if claimed and not anew:
        folder.claim(run.config)
        if folder.pretrained and not just_trained:
            _check_trained_on(setting, run)
    to_forget = [
        name
        for name in evals
        if folder.has_eval(name) and (setting.forces(name) or (just_trained and _is_outdated(run, name)))
    ]
    missing = [name for name in evals if name in to_forget or not folder.has_eval(name)]
    for name in evals:
        if name not in missing:
            _check_made_so(setting, run, name, folder.weights if folder.pretrained and not anew else None)
    if anew:
        reason: str | None = f"{folder.name} is pre-trained anew"
    else:
        reason = folder.reason_to_train(missing)
    if not folder.pretrained:
        return Done("begun" if claimed else "absent", folder.has_weights, reason, tuple(missing), tuple(to_forget))
    stage: Literal["trained", "evaluated"] = "trained" if reason or missing else "evaluated"
    return Done(stage, folder.has_weights, reason, tuple(missing), tuple(to_forget))


def look_at_kept(setting: Setting, run: Run, evals: Iterable[str], weights: str) -> Done:
    """As `look`, of a run at a step whose checkpoint is kept, with the fingerprint of its encoder."""
    for name in (evals := tuple(evals)):
        check_choice("evaluation", name, EVALS)
        if run.folder.has_eval(name) and not setting.forces(name):
            _check_made_so(setting, run, name, weights)
    forced = tuple(name for name in evals if run.folder.has_eval(name) and setting.forces(name))
    missing = tuple(name for name in evals if name in forced or not run.folder.has_eval(name))
    return Done("trained" if missing else "evaluated", True, None, missing, forced)


def images_of(setting: Setting, run: Run) -> ImageSet:
    """What the run is trained on."""
    return data.load(run.config.data.name, run.config.data.split, data_dir=setting.data_dir)


def fingerprints_of(images: Mapping[str, Fingerprinted]) -> dict[str, str]:
    """By the names of the sets."""
    return {name: entry.fingerprint for name, entry in images.items()}


def protocol_of(setting: Setting, run: Run, name: str) -> dict[str, Any]:
    """What an evaluation's numbers depend on, with the settings of JAX that would make others, where there are some."""
    method = numerics.method_of_numbers()
    return EVALS[name].protocol(setting, run) | ({"numerics": method} if method else {})


def _check_trained_on(setting: Setting, run: Run) -> None:
    """Raises ConfigError, with the difference, if a finished run saw other images than its data set has now.

    Or if it was made under settings of JAX that make other numbers.
    """
    if not run.config.optim.total_steps:
        return
    made = run.folder.provenance
    if lines := differences(numerics.of_method(made.get("numerics", {})), numerics.method_of_numbers()):
        raise ConfigError(
            f"{run.folder.name} was trained under settings that make other numbers:\n{lines}\n"
            "set them as they were, or pass --force=train,evals to make it anew"
        )
    if lines := differences(made["data"], described(images_of(setting, run))):
        raise ConfigError(
            f"{run.folder.name} was trained on other images than its data set has now:\n{lines}\n"
            "pass --force=train,evals to make it anew, or another --results_dir and --workdir to keep both"
        )


def _check_made_so(setting: Setting, run: Run, name: str, weights: str | None) -> None:
    """Raises ConfigError, with the differences, if an evaluation is there that was made otherwise.

    `weights`: what it must be of; None: whatever it is of.
    """
    protocol, path = protocol_of(setting, run, name), run.folder.eval_path(name)
    there = run.folder.read_eval(name)
    there.check_is(name, path, protocol, None)
    # Its images were at hand when it was made, and are read here to see that they are the same.
    weights = there.fingerprints.get("weights", "") if weights is None else weights
    there.check_is(name, path, protocol, {"weights": weights} | fingerprints_of(EVALS[name].images(setting)))


def _is_outdated(run: Run, name: str) -> bool:
    return run.folder.read_eval(name).fingerprints.get("weights") != run.folder.weights
