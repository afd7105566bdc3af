"""The run that a command reads: by `--name`, with the configuration that it was made with."""

from __future__ import annotations

from typing import Any

from absl import flags

from can.commands.flags import run_of_flags
from can.commands.setting import Run, Setting
from can.commands.spec import Spec, resolve
from can.config import RunConfig
from can.errors import ConfigError
from can.runs.name import differences, flatten

# What decides a field of another name.
_FIELDS = {
    "method": "method.name",
    "model": "model.size",
    "data": "data.name",
    "augmentation": "augment.name",
    "warmup_epochs": "optim.warmup_steps",
}
_OF_SPEC = ("method", "model", "data", "epochs", "seed")


def run_to_read(chosen: Setting) -> Run:
    """As `run_of_flags`; under a `--name` that has a run, that run as it is, which needs no other flag.

    Raises ConfigError, with the differences, if a flag says otherwise than the run's own configuration.
    """
    name = flags.FLAGS.name
    if name is None or not ((folder := chosen.folder(name)).results / "config.json").exists():
        return run_of_flags(chosen)
    own = folder.config
    if lines := _contradictions(chosen, own):
        raise ConfigError(
            f"{folder.results} holds a run of this name with another configuration:\n{lines}\n"
            "leave these flags out to read it as it is, or pass the --name of another run"
        )
    return Run(Spec(own.method.name, own.model.size, own.data.name, own.epochs), own, folder)


def _contradictions(chosen: Setting, own: RunConfig) -> str:
    """A line for each field that a flag sets to another value than the run has."""
    given: dict[str, Any] = {flag: flags.FLAGS[flag].value for flag in _OF_SPEC if flags.FLAGS[flag].present}
    names = {*given, *chosen.overrides}
    if not names:
        return ""
    asked = Spec(
        given.get("method", own.method.name),
        given.get("model", own.model.size),
        given.get("data", own.data.name),
        given.get("epochs", own.epochs),
    )
    wanted = flatten(resolve(chosen.scale, asked, given.get("seed", own.seed), chosen.overrides).to_dict())
    there = flatten(own.to_dict())
    parts = ("", "model.", "augment.", "optim.", "method.")
    fields = {part + name for part in parts for name in names} | {_FIELDS.get(name, name) for name in names}
    return differences(*({field: values[field] for field in values if field in fields} for values in (there, wanted)))
