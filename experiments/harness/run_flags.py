"""The flags that every experiment shares, and the run that they describe."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any, get_type_hints

from absl import flags

from can.config import AugmentConfig, ModelConfig, OptimConfig, RunConfig
from can.data import DEFAULT_DATA_DIR
from can.errors import ConfigError
from can.methods import method_names, settings_class
from can.runs import RunDir, run_name
from experiments.harness import presets

REPOSITORY = Path(__file__).resolve().parents[2]


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
_PROTOCOLS = {"linear_probe": "probe_", "finetune": "finetune_", "few_shot": "few_shot_"}
_override_names: list[str] = []
_method_fields: set[str] = set()  # of all methods' settings: a method has some of them
_protocol_names: dict[str, list[str]] = {}


def define_scale_flags() -> None:
    """--scale, the folders, and one flag for every hyper-parameter; unset ones take the scale's values."""
    flags.DEFINE_string("scale", "laptop", f"one of {', '.join(presets.SCALES)}: what plays the paper's roles")
    flags.DEFINE_string("labelled", None, "data set in the role of IN-1K: a name, TFDS name or folder:PATH")
    flags.DEFINE_string("uncurated", None, "data set in the role of JFT-300M: a name, TFDS name or folder:PATH")
    flags.DEFINE_string("train_split", "train", "labelled images that evaluations train on, e.g. train[:50000]")
    flags.DEFINE_string("test_split", None, "labelled images that evaluations test on; default: the scale's")
    flags.DEFINE_string("objectnet", None, "folder of ObjectNet's images, one subfolder a class, for --eval=robustness")
    flags.DEFINE_bool("imagenet_c", False, "also imagenet2012_corrupted (75 sets), for --eval=robustness")
    flags.DEFINE_string("data_dir", str(DEFAULT_DATA_DIR), "where data sets are kept")
    flags.DEFINE_string("results_dir", str(REPOSITORY / "results"), "where results go")
    flags.DEFINE_string("workdir", str(REPOSITORY / "checkpoints"), "where checkpoints and live logs go")
    flags.DEFINE_bool("force", False, "delete what an earlier run of the same name wrote, and run again")
    flags.DEFINE_bool("print_config", False, "print the resolved configuration and exit")
    flags.DEFINE_integer("checkpoint_every", None, "steps between checkpoints")
    flags.DEFINE_integer("log_every", None, "steps between rows of train.csv")
    flags.DEFINE_integer("workers", None, "processes that decode images (for sets that do not fit decoded in memory)")
    flags.DEFINE_integer("fsdp", 1, "devices that share each parameter; the others split the batch")
    flags.DEFINE_string("augmentation", None, "simclr, mae (crop and flip) or none; default: the method's")
    flags.DEFINE_float("warmup_epochs", None, "of the run's epochs, with a linear rise of the learning rate")
    _override_names.extend(("augmentation", "warmup_epochs"))
    for config in (ModelConfig, AugmentConfig, OptimConfig):
        _override_names.extend(_define_fields(config))
    for method in method_names():
        new = _define_fields(settings_class(method), known=_method_fields)
        _method_fields.update(new)
        _override_names.extend(new)
    protocols = get_type_hints(presets.Scale)
    for protocol, prefix in _PROTOCOLS.items():
        _protocol_names[protocol] = _define_fields(protocols[protocol], prefix)


def define_run_flags() -> None:
    """The flags that name one run."""
    define_scale_flags()
    flags.DEFINE_string("method", "can", "can, simclr, mae, supervised, pyramid_at, or random for no training")
    flags.DEFINE_string("model", "vit_b", "a role (vit_b, vit_l) or a size (nano, micro, Ti, S, B, L)")
    flags.DEFINE_string("data", "in1k", "a role (in1k, jft), a data set's name, a TFDS name or folder:PATH")
    flags.DEFINE_float("epochs", 100, "as the paper counts them; the scale maps them to images")
    flags.DEFINE_integer("seed", 0, "of initialisation, order, augmentation, masks and noise")
    flags.DEFINE_string("name", None, "the run's name; default: made of what distinguishes it")


def _define_fields(config: type, prefix: str = "", known: Collection[str] = ()) -> list[str]:
    hints = get_type_hints(config)
    names = [f.name for f in dataclasses.fields(config) if f.name not in _OWN_FLAGS and f.name not in known]
    for name in names:
        _DEFINE[hints[name]](prefix + name, None, f"{config.__name__}.{name}; default: the scale's")
    return names


def scale() -> presets.Scale:
    """The scale asked for, with its roles recast and its intervals replaced where flags say so."""
    values = flags.FLAGS
    base = presets.scale_named(values.scale)
    given = {name: values[name].value for name in ("checkpoint_every", "log_every", "workers", "test_split")}
    protocols = {name: dataclasses.replace(getattr(base, name), **protocol_flags(name)) for name in _PROTOCOLS}
    data = {"in1k": values.labelled, "jft": values.uncurated}
    return dataclasses.replace(
        base,
        data=base.data | _given(data),
        **protocols,
        **_given(given),
    )


def protocol_flags(protocol: str) -> dict[str, Any]:
    """The fields of an evaluation's protocol that flags give."""
    prefix = _PROTOCOLS[protocol]
    return _given({name: flags.FLAGS[prefix + name].value for name in _protocol_names[protocol]})


def named_run(
    method: str, model: str, data: str, epochs: float, seed: int, *, name: str | None = None, alone: bool = False
) -> tuple[RunConfig, RunDir]:
    """The configuration and the folders of a run, with the overrides that flags give.

    Among the runs of a table, each takes what its method has of the overrides; a run `alone` has to have them all.
    Raises ConfigError if a name is unknown or a setting cannot work.
    """
    values = flags.FLAGS
    overrides = _given({name: values[name].value for name in _override_names})
    if not alone:
        others = _method_fields - {f.name for f in dataclasses.fields(settings_class(method))}
        overrides = {name: value for name, value in overrides.items() if name not in others}
    recast = {"in1k": values.labelled, "jft": values.uncurated}.get(data)
    if recast is not None:
        overrides["data_name"] = recast
    settings: dict[str, Any] = dict(method=method, model=model, data=data, epochs=epochs, seed=seed)
    config = presets.resolve(values.scale, **settings, overrides=overrides)
    base = presets.resolve(values.scale, **settings)
    name = name or run_name(config, base, model, data)
    return config, RunDir(Path(values.results_dir), Path(values.workdir), values.scale, name)


def run_of_flags() -> tuple[RunConfig, RunDir]:
    """The one run that --method, --model, --data, --epochs and --seed describe."""
    values = flags.FLAGS
    if values.epochs <= 0 and values.method != "random":
        raise ConfigError(f"--epochs must be positive, not {values.epochs:g}; --method=random is the untrained encoder")
    return named_run(values.method, values.model, values.data, values.epochs, values.seed, name=values.name, alone=True)


def describe(config: RunConfig, run: RunDir) -> str:
    """The resolved configuration, with what follows from it, as JSON."""
    chosen = scale()
    derived = {
        "name": run.name,
        "peak_lr": config.optim.peak_lr,
        "images": config.optim.total_steps * config.optim.batch_size,
        **{protocol: dataclasses.asdict(getattr(chosen, protocol)) for protocol in _PROTOCOLS},
        "labelled": {"data": chosen.data["in1k"], "train": flags.FLAGS.train_split, "test": chosen.test_split},
    }
    return json.dumps(config.to_dict() | derived, indent=2)


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
