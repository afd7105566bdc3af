"""What a table is made of: specs of runs, in the paper's roles, and the evaluations that each needs."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from can.commands.methods import MethodPreset, preset
from can.commands.scales import Scale
from can.config import AugmentConfig, DataConfig, ModelConfig, OptimConfig, RunConfig
from can.errors import ConfigError, check_range
from can.fields import Count, NotNegative, check_value
from can.methods import check_batch_size, method_class, settings_class
from can.models import model_config
from can.runs.name import number_text


@dataclass(frozen=True)
class Spec:
    """A run in roles: what is trained, on what, for how many of the paper's epochs, and what is changed.

    Attributes:
      method: a name of `can.methods`.
      model: a role (`vit_b`, `vit_l`), or a size of `can.models.vit.SIZES`.
      data: a role (`in1k`, `jft`), or a name of `can.data.load`.
      epochs: as the paper counts them; 0 for what is not trained.
      overrides: names and values of single fields of the configuration; see `resolve`.
    """

    method: str
    model: str
    data: str
    epochs: float
    overrides: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        """What `--rows` takes: `can/vit_l/5000`, or `can/vit_b/100/mask_rate=0.25`."""
        return "/".join([self.method, self.model, number_text(self.epochs), *self._changed])

    @property
    def full(self) -> str:
        """The spec's text with the data, so that no two specs share it: `can/vit_l/5000/jft`."""
        return "/".join([self.method, self.model, number_text(self.epochs), self.data, *self._changed])

    @property
    def _changed(self) -> list[str]:
        return [f"{name}={number_text(value) if isinstance(value, float) else value}" for name, value in self.overrides]

    def but(self, **overrides: Any) -> Spec:
        """This spec with some fields of the configuration changed."""
        return dataclasses.replace(self, overrides=tuple(sorted((dict(self.overrides) | overrides).items())))


@dataclass(frozen=True)
class Need:
    """A run that a table or figure reads, and the evaluations of it."""

    spec: Spec
    evals: tuple[str, ...] = ("linear_probe",)


def grid(spec: Spec, **values: Iterable[Any]) -> list[Spec]:
    """`spec` with every combination of the values: `grid(CAN, mask_rate=(0.25, 0.5))`."""
    return [spec.but(**dict(zip(values, chosen, strict=True))) for chosen in itertools.product(*values.values())]


def resolve(scale: Scale, spec: Spec, seed: int, overrides: Mapping[str, Any] | None = None) -> RunConfig:
    """The configuration of a run at a scale.

    Args:
      scale: what plays the roles.
      spec: the run; its own overrides go before the others.
      seed: of everything that is random.
      overrides: values of single fields, by their names in `can.config` and in the method's settings. `augmentation`
        stands for the field `augment.name`; `warmup_epochs` is of the spec's epochs.

    Raises:
      ConfigError: a name is unknown, a value cannot work, or a run of this method has no such field.
    """
    check_value("epochs", spec.epochs, NotNegative)
    method, chosen = method_class(spec.method), preset(spec.method)
    usual = chosen.usual(scale.name, spec.epochs)
    given = _by_owner(spec.method, usual | dict(overrides or {}) | dict(spec.overrides))
    length = given["length"]

    size = scale.models.get(spec.model, spec.model)
    image_size = length.get("image_size", scale.image_size)
    model = model_config(size, image_size, **scale.model_overrides | given["model"])

    crop = {} if chosen.crop_area_min is None else {"crop_area_min": chosen.crop_area_min}
    augmentation = {"name": length.get("augmentation", method.augmentation)}
    augment = AugmentConfig(**augmentation | crop | scale.augment | given["augment"])

    rates = _rates(scale, spec, chosen, size)
    batch_size = length.get("batch_size", scale.batch_size)
    share = length.get("warmup_share")  # of the run; None: the scale's
    check_value("batch_size", batch_size, Count)
    total_steps = _total_steps(scale, spec, chosen, batch_size, length.get("total_steps"))
    warmup_epochs = length.get("warmup_epochs", None if share is None else share * spec.epochs)
    warmup_steps = _warmup_steps(scale, spec, batch_size, total_steps, warmup_epochs)
    optim = dict(batch_size=batch_size, total_steps=total_steps, warmup_steps=warmup_steps, **rates)

    config = RunConfig(
        scale=scale.name,
        epochs=spec.epochs,
        seed=seed,
        model=model,
        method=settings_class(spec.method)(**given["method"]),  # mask_rate, lambda_infonce, ...
        augment=augment,
        data=DataConfig(scale.data.get(spec.data, spec.data)),
        optim=OptimConfig(**optim | given["optim"]),
    )
    check_batch_size(method.name, batch_size)
    return config


# What decides other fields, too.
_LENGTH = ("image_size", "augmentation", "batch_size", "total_steps", "warmup_epochs", "warmup_share")


def _by_owner(method: str, given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The overrides of a run by what has a field of that name: model, augment, optim, the method; or `_LENGTH`.

    Raises ConfigError for a name that none has.
    """
    configs = {"model": ModelConfig, "augment": AugmentConfig, "optim": OptimConfig, "method": settings_class(method)}
    fields: dict[str, Iterable[str]] = {"length": _LENGTH} | {
        owner: {f.name for f in dataclasses.fields(config)} - {"name", "size"} for owner, config in configs.items()
    }
    owners = {name: next((owner for owner in fields if name in fields[owner]), None) for name in given}
    if not preset(method).trains and "total_steps" in given:
        owners["total_steps"] = None
    if unknown := [name for name, owner in owners.items() if owner is None]:
        raise ConfigError(f"{method} has no setting {', '.join(map(repr, unknown))}")
    return {owner: {name: given[name] for name in given if owners[name] == owner} for owner in fields}


def _total_steps(scale: Scale, spec: Spec, chosen: MethodPreset, batch_size: int, given: int | None) -> int:
    """The length of a run, `given` or the scale's. Raises ConfigError for one that would not learn."""
    if not chosen.trains:
        return 0
    if given is not None:
        check_value("total_steps", given, Count)  # fewer would leave the encoder untrained
        return given
    images = scale.schedule.images(spec.epochs)
    if images < batch_size:
        raise ConfigError(
            f"{spec.epochs:g} epochs are {images} images at the scale {scale.name}, less than a batch of {batch_size}: "
            "pass a smaller --batch_size or more --epochs"
        )
    return images // batch_size


def _warmup_steps(scale: Scale, spec: Spec, batch_size: int, total_steps: int, epochs: float | None) -> int:
    """The steps of the warm-up, of so many `epochs` of the spec's or of the scale's images."""
    if epochs is None:
        return min(round(scale.schedule.warmup_images(spec.epochs) / batch_size), total_steps)
    check_range("warmup_epochs", epochs, 0, spec.epochs)
    return min(round(total_steps * epochs / spec.epochs), total_steps) if spec.epochs else 0


def _rates(scale: Scale, spec: Spec, chosen: MethodPreset, size: str) -> dict[str, Any]:
    """Base learning rate, weight decay, and what else a method has of its own.

    A size takes those of the role that it plays at `paper`.
    """
    if chosen.base_lr is None:
        return dict(base_lr=0.0, weight_decay=scale.weight_decay)
    if scale.name == "paper" and chosen.paper_optim is not None:
        large = spec.model == "vit_l" or size == scale.models["vit_l"]
        return chosen.paper_optim(large, spec.data == "jft")
    return dict(base_lr=chosen.base_lr[scale.name], weight_decay=scale.weight_decay)
