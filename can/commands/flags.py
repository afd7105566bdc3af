"""The flags of the commands, and the setting that they describe."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, get_type_hints

from absl import flags

from can.commands import scales, several_hosts
from can.commands.evaluations import EVALS
from can.commands.folder_flags import define_folder, define_place
from can.commands.methods import preset
from can.commands.setting import PUBLISHED, REPOSITORY, RESULTS, Run, Setting
from can.commands.spec import Spec
from can.config import AugmentConfig, ModelConfig, OptimConfig
from can.data import DEFAULT_DATA_DIR
from can.errors import ConfigError, check_choice
from can.fields import Count, CountOrZero, Positive, check_value
from can.methods import method_names, settings_class
from can.runs.writers import check_places
from can.system.places import place


class _Ints(flags.ArgumentParser):
    """`1,5,10` as a tuple."""

    syntactic_help = "whole numbers with commas between them"

    def parse(self, argument: str | tuple[int, ...]) -> tuple[int, ...]:
        return argument if isinstance(argument, tuple) else tuple(int(number) for number in argument.split(","))


_DEFINE: dict[Any, Callable[..., Any]] = {
    bool: flags.DEFINE_bool,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
    tuple[int, ...]: partial(flags.DEFINE, _Ints()),
}
_OWN_FLAGS = frozenset({"name", "size", "rule"})  # --method, --augmentation, --model, --eval
# The evaluations whose protocol is a field of Scale, with the prefix of its flags.
PROTOCOLS = {"linear_probe": "probe_", "finetune": "finetune_", "few_shot": "few_shot_", "knn": "knn_"}
_DATA = ("labelled", "uncurated", "train_split", "test_split", "objectnet", "imagenet_c", "real_shifts")
_INTERVALS = ("checkpoint_every", "checkpoint_seconds", "keep_every", "log_every")
_ALLOWED = {
    **dict.fromkeys((*_INTERVALS, "probe_every"), Count),
    "checkpoint_seconds": Positive,
    "workers": CountOrZero,
    "fsdp": Count,
}
_overrides: list[str] = []  # flags that are fields of a run's configuration
_protocols: dict[str, list[str]] = {}  # fields of each evaluation's protocol
_declared: dict[str, dict[type, str]] = {}  # where a flag's field is declared, and its name there: see `help`


def define_setting_flags() -> None:
    """--scale, the folders, and one flag for every hyper-parameter; unset ones take the scale's values."""
    flags.DEFINE_string("scale", "laptop", f"one of {', '.join(scales.SCALES)}: what plays the paper's roles")
    flags.DEFINE_string("labelled", None, "data set in the role of IN-1K: a name, or kind:PATH as in docs/data.md")
    flags.DEFINE_string("uncurated", None, "data set in the role of JFT-300M, named likewise")
    flags.DEFINE_string("train_split", "train", "labelled images that evaluations train on, e.g. train[:50000]")
    flags.DEFINE_string("test_split", None, "labelled images that evaluations test on; default: the scale's")
    define_folder("objectnet", None, "folder of ObjectNet's images, one subfolder a class, for robustness")
    flags.DEFINE_bool("imagenet_c", False, "also imagenet2012_corrupted (75 sets), for robustness")
    flags.DEFINE_list("real_shifts", [], "published shifts of cifar10 in --data_dir: cifar10_1,cifar10_c,cifar10h")
    define_folder("data_dir", str(DEFAULT_DATA_DIR), "where data sets are kept")
    define_folder("results_dir", str(RESULTS), "where your results go")
    define_folder("published_dir", str(PUBLISHED), "where the results are that this repository publishes")
    define_folder("workdir", str(REPOSITORY / "checkpoints"), "where checkpoints and live logs go")
    define_place(
        "checkpoints",
        None,
        "where the checkpoints of pre-training go, which are the large files; default: --workdir. gs://BUCKET/PATH: a "
        "Google Cloud Storage bucket (pip install -e '.[gcs]')",
    )
    flags.DEFINE_list(
        "force",
        [],
        "what to make anew: train, evals, or evaluations by name; images: go on with a set that has changed",
    )
    flags.DEFINE_bool("print_config", False, "print the resolved configuration and exit")
    flags.DEFINE_integer("checkpoint_every", None, "steps between checkpoints")
    flags.DEFINE_float("checkpoint_seconds", None, "a checkpoint is also made so long after the last one")
    flags.DEFINE_integer("keep_every", None, "steps whose checkpoints are kept for good; of the others the latest two")
    flags.DEFINE_integer("log_every", None, "steps between rows of train.csv")
    flags.DEFINE_integer("probe_every", None, "steps between looks at the encoder while it trains (docs/watching.md)")
    flags.DEFINE_list("write_to", ["tensorboard"], "where rows go beside train.csv: tensorboard, wandb, both, or empty")
    flags.DEFINE_string("profile", None, "FIRST:LAST, steps of which a trace is made, as 10:13 (docs/watching.md)")
    flags.DEFINE_integer("workers", None, "processes that decode images (for sets that do not fit decoded in memory)")
    flags.DEFINE_integer("fsdp", 1, "devices that share each parameter; the others split the batch")
    flags.DEFINE_bool("skip_bad_images", False, "leave damaged images out of pre-training, up to 0.1 % of them")
    flags.DEFINE_string("augmentation", None, "simclr, mae (crop and flip) or none; default: the method's")
    flags.DEFINE_float("warmup_epochs", None, "in which the learning rate rises in a line; default: the scale's")
    _overrides.extend(("augmentation", "warmup_epochs"))
    for config in (ModelConfig, AugmentConfig, OptimConfig, *map(settings_class, method_names())):
        _overrides.extend(_define_fields(config))
    hints = get_type_hints(scales.Scale)
    for protocol, prefix in PROTOCOLS.items():
        _protocols[protocol] = _define_fields(hints[protocol], prefix)


def define_run_flags() -> None:
    """The flags that name one run, and those of several hosts that make it."""
    define_setting_flags()
    several_hosts.define_flags()
    flags.DEFINE_string("method", "can", f"{', '.join(method_names())}; random is the untrained encoder")
    flags.DEFINE_string("model", "vit_b", "a role (vit_b, vit_l) or a size (nano, micro, Ti, S, B, L)")
    flags.DEFINE_string("data", "in1k", "a role (in1k, jft), or a data set, named as for --labelled")
    flags.DEFINE_float("epochs", 100, "as the paper counts them; the scale maps them to images")
    flags.DEFINE_integer("seed", 0, "of everything that is random")
    flags.DEFINE_string("name", None, "the run's name; default: made of what distinguishes it")


def _define_fields(config: type, prefix: str = "") -> list[str]:
    """A flag for each field; methods that share a field share its flag."""
    hints = get_type_hints(config)
    names = [f.name for f in dataclasses.fields(config) if f.name not in _OWN_FLAGS]
    for name in names:
        if prefix + name not in _overrides:
            _DEFINE[hints[name]](prefix + name, None, f"{config.__name__}.{name}; default: the scale's")
        _declared.setdefault(prefix + name, {})[config] = name
    return [name for name in names if prefix or name not in _overrides]


def setting() -> Setting:
    """What the flags say. Raises ConfigError for a name that does not exist."""
    values = flags.FLAGS
    base = scales.scale_named(values.scale)
    for name in values.force:
        check_choice("thing to --force", name, ("train", "images", "evals", *EVALS))
    for name, allowed in _ALLOWED.items():
        if (number := values[name].value) is not None:
            check_value(f"--{name}", number, allowed)
    protocols = {
        name: _given({field: PROTOCOLS[name] + field for field in fields}) for name, fields in _protocols.items()
    }
    check_places(values.write_to)
    roles = _given({"in1k": "labelled", "jft": "uncurated"})
    scale = dataclasses.replace(
        base,
        data=base.data | roles,
        **{name: dataclasses.replace(getattr(base, name), **fields) for name, fields in protocols.items()},
        **_given({name: name for name in (*_INTERVALS, "workers", "test_split")}),
    )
    changing = [
        *_DATA,
        *_overrides,
        *(PROTOCOLS[name] + field for name, fields in _protocols.items() for field in fields),
    ]
    return Setting(
        scale=scale,
        overrides=_given({name: name for name in _overrides}),
        finetune=protocols["finetune"],
        given=tuple(f"--{name}={_text(values[name].value)}" for name in changing if values[name].present),
        results_dir=Path(values.results_dir),
        published_dir=Path(values.published_dir),
        workdir=Path(values.workdir),
        checkpoints=None if values.checkpoints is None else place(values.checkpoints),
        data_dir=Path(values.data_dir),
        train_split=values.train_split,
        objectnet=values.objectnet,
        imagenet_c=values.imagenet_c,
        real_shifts=tuple(values.real_shifts),
        fsdp=values.fsdp,
        skip_bad_images=values.skip_bad_images,
        probe_every=values.probe_every,
        write_to=tuple(values.write_to),
        profile=None if values.profile is None else _steps(values.profile),
        force=tuple(values.force),
    )


def run_of_flags(chosen: Setting) -> Run:
    """The one run that --method, --model, --data, --epochs and --seed describe."""
    values = flags.FLAGS
    if values.epochs <= 0 and preset(values.method).trains:
        raise ConfigError(f"--epochs must be positive, not {values.epochs:g}; --method=random is the untrained encoder")
    spec = Spec(values.method, values.model, values.data, values.epochs)
    return chosen.run(spec, values.seed, values.name)


def declared(name: str) -> dict[type, str]:
    """The configurations that have a flag's field, each with the name that it has there; empty for other flags."""
    return _declared.get(name, {})


def print_config() -> bool:
    """Whether only the configuration is asked for."""
    return flags.FLAGS.print_config


def describe(chosen: Setting, run: Run) -> str:
    """The resolved configuration, with what follows from it, as JSON."""
    optim = run.config.optim
    derived = {
        "name": run.folder.name,
        "peak_lr": optim.peak_lr,
        "images": optim.total_steps * optim.batch_size,
        **{protocol: dataclasses.asdict(getattr(chosen.scale, protocol)) for protocol in PROTOCOLS},
        "labelled": {"data": chosen.labelled, "train": chosen.train_split, "test": chosen.scale.test_split},
    }
    return json.dumps(run.config.to_dict() | derived, indent=2)


def _given(names: dict[str, str]) -> dict[str, Any]:
    """The values of those flags that are set, by other names."""
    values = flags.FLAGS
    return {name: values[flag].value for name, flag in names.items() if values[flag].value is not None}


def _steps(text: str) -> tuple[int, int]:
    """`10:13` as the two steps. Raises ConfigError for anything else."""
    found = re.fullmatch(r"(\d+):(\d+)", text)
    first, last = (int(number) for number in found.groups()) if found else (0, 0)
    if not 1 <= first <= last:
        raise ConfigError(f"--profile={text} is no range of steps: write the first and the last one, as 10:13")
    return first, last


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
