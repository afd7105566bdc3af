"""What a table is made of: specs of runs, in the paper's roles, and the evaluations that each needs."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from can.config import AugmentConfig, DataConfig, ModelConfig, OptimConfig, RunConfig
from can.errors import ConfigError, check_range
from can.fields import Count, NotNegative, check_value
from can.methods import check_batch_size, method_class, settings_class
from can.models import model_config
from can.runs.name import number_text
from experiments.harness.methods import preset
from experiments.harness.scales import Scale


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
        """As its text, with the data, so that no two specs share it: `can/vit_l/5000/jft`."""
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
    given = dict(overrides or {}) | dict(spec.overrides)
    check_value("epochs", spec.epochs, NotNegative)
    method = method_class(spec.method)
    chosen = preset(spec.method)

    def take(config: type, **base: Any) -> Any:
        names = {f.name for f in dataclasses.fields(config)} - {"name", "total_steps"}
        return config(**base | {name: given.pop(name) for name in list(given) if name in names})

    size = scale.models.get(spec.model, spec.model)
    in_model = {f.name for f in dataclasses.fields(ModelConfig)} - {"size", "image_size"}
    model_fields = scale.model_overrides | {name: given.pop(name) for name in list(given) if name in in_model}
    model = model_config(size, given.pop("image_size", scale.image_size), **model_fields)

    augmentation = given.pop("augmentation", method.augmentation)
    crop = {} if chosen.crop_area_min is None else {"crop_area_min": chosen.crop_area_min}
    augment = take(AugmentConfig, name=augmentation, **(crop | scale.augment | chosen.augment))

    batch_size = given.pop("batch_size", scale.batch_size)
    check_value("batch_size", batch_size, Count)
    total_steps = _total_steps(scale, spec, batch_size, given)
    if (warmup_epochs := given.pop("warmup_epochs", None)) is None:
        warmup_steps = round(scale.schedule.warmup_images(spec.epochs) / batch_size)
    else:
        check_range("warmup_epochs", warmup_epochs, 0, spec.epochs)
        warmup_steps = round(total_steps * warmup_epochs / spec.epochs) if spec.epochs else 0
    optim = take(
        OptimConfig,
        batch_size=batch_size,
        total_steps=total_steps,
        warmup_steps=min(warmup_steps, total_steps),
        **_rates(scale, spec, size),
    )
    config = RunConfig(
        scale=scale.name,
        epochs=spec.epochs,
        seed=seed,
        model=model,
        method=take(settings_class(spec.method), **chosen.settings | chosen.tuned.get(scale.name, {})),
        augment=augment,
        data=DataConfig(scale.data.get(spec.data, spec.data)),
        optim=optim,
    )
    if given:
        raise ConfigError(f"{spec.method} has no setting {', '.join(map(repr, given))}")
    check_batch_size(method.name, batch_size)
    return config


def _total_steps(scale: Scale, spec: Spec, batch_size: int, given: dict[str, Any]) -> int:
    """The length of a run, taken out of `given` if it is there. Raises ConfigError for one that would not learn."""
    if preset(spec.method).base_lr is None:  # untrained
        return 0
    if "total_steps" in given:
        check_value("total_steps", given["total_steps"], Count)  # fewer would leave the encoder untrained
        return given.pop("total_steps")
    images = scale.schedule.images(spec.epochs)
    if images < batch_size:
        raise ConfigError(
            f"{spec.epochs:g} epochs are {images} images at the scale {scale.name}, less than a batch of {batch_size}: "
            "pass a smaller --batch_size or more --epochs"
        )
    return images // batch_size


def _rates(scale: Scale, spec: Spec, size: str) -> dict[str, float]:
    """Base learning rate and weight decay. A size takes those of the role that it plays at `paper`."""
    chosen = preset(spec.method)
    if chosen.base_lr is None:
        return dict(base_lr=0.0, weight_decay=scale.weight_decay)
    if scale.name == "paper" and chosen.paper_optim is not None:
        large = spec.model == "vit_l" or size == scale.models["vit_l"]
        return chosen.paper_optim(large, spec.data == "jft")
    return dict(base_lr=chosen.base_lr[scale.name], weight_decay=scale.weight_decay)
