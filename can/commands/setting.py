"""What the flags of a command say, as one value that everything else is given."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from can.commands.methods import preset
from can.commands.scales import SCALES, Scale
from can.commands.spec import Need, Spec, resolve
from can.config import AugmentConfig, ModelConfig, OptimConfig, RunConfig
from can.data import DEFAULT_DATA_DIR
from can.errors import ConfigError
from can.methods import settings_class
from can.runs import RunDir, run_name
from can.system.places import Place

_ROOT = Path(__file__).resolve().parents[2]
# Results and checkpoints go into the checkout, wherever a command is started; if it is installed, where it is started.
REPOSITORY = _ROOT if (_ROOT / "experiments" / "harness").is_dir() else Path.cwd()
RESULTS = REPOSITORY / "results"
PUBLISHED = RESULTS / "published"


class Run(NamedTuple):
    """One run: a spec, a seed, and what follows from them."""

    spec: Spec
    config: RunConfig
    folder: RunDir


@dataclass(frozen=True)
class Setting:
    """How runs are made, evaluated and read.

    Attributes:
      scale: with its roles recast and its protocols and intervals replaced where flags say so.
      overrides: fields of every run's configuration, by name.
      finetune: fields of the finetuning's protocol, which go before a recipe's.
      given: the flags that change numbers, as a user writes them.
      results_dir: the reader's own results.
      published_dir: what this repository publishes.
      workdir: checkpoints and live logs.
      checkpoints: the checkpoints of pre-training, if they lie elsewhere: another folder, or a place in a bucket.
      data_dir: data sets.
      train_split: of the labelled set, what evaluations train on.
      objectnet: folder of ObjectNet's images, for robustness.
      imagenet_c: whether robustness has ImageNet-C.
      real_shifts: which published shifts of CIFAR-10 robustness has.
      fsdp: devices that share each parameter.
      skip_bad_images: whether pre-training leaves damaged images out, up to a share of them.
      probe_every: steps between looks at the encoder while it trains; None: nobody looks.
      profile: the first and the last step that are traced; None: none.
      write_to: where the scalars of a training go beside `train.csv`.
      force: what is made anew: "train", "evals", or evaluations by name; "images" goes on with a set that has changed.
    """

    scale: Scale
    overrides: Mapping[str, Any] = field(default_factory=dict)
    finetune: Mapping[str, Any] = field(default_factory=dict)
    given: tuple[str, ...] = ()
    results_dir: Path = RESULTS
    published_dir: Path = PUBLISHED
    workdir: Path = REPOSITORY / "checkpoints"
    checkpoints: Place | None = None
    data_dir: Path = DEFAULT_DATA_DIR
    train_split: str = "train"
    objectnet: str | None = None
    imagenet_c: bool = False
    real_shifts: tuple[str, ...] = ()
    fsdp: int = 1
    skip_bad_images: bool = False
    probe_every: int | None = None
    profile: tuple[int, int] | None = None
    write_to: tuple[str, ...] = ("tensorboard",)
    force: tuple[str, ...] = ()

    def run(self, spec: Spec, seed: int, name: str | None = None) -> Run:
        """The run of a spec with a seed, with this setting's overrides.

        `name`: another one than what distinguishes the run. Raises ConfigError for a setting that cannot work.
        """
        config = resolve(self.scale, spec, seed, self.overrides)
        return Run(spec, config, self.folder(name or self._name(config, spec)))

    def folder(self, name: str) -> RunDir:
        """The reader's own run of that name."""
        return self._folder(self.results_dir, name)

    def published(self, spec: Spec, seed: int) -> RunDir:
        """Where the published results of the same run are, if it is published."""
        config = resolve(self.scale, spec, seed, self.overrides)
        return self._folder(self.published_dir, self._name(config, spec))

    def for_table(self, needs: Sequence[Need]) -> list[tuple[Need, Setting]]:
        """Each need with this setting, less the overrides that its method has no field for.

        Raises ConfigError for an override that no method of the table has.
        """
        fields = {need.spec.method: _fields(need.spec.method) for need in needs}
        for name in self.overrides:
            if not any(name in known for known in fields.values()):
                raise ConfigError(f"no run of this table has the setting --{name}")
        return [
            (need, dataclasses.replace(self, overrides=_only(self.overrides, fields[need.spec.method])))
            for need in needs
        ]

    @property
    def labelled(self) -> str:
        """The data set in the role of IN-1K."""
        return self.scale.data["in1k"]

    def forces(self, name: str) -> bool:
        """Whether the evaluation `name` is to be made anew."""
        return name in self.force or "evals" in self.force

    def _name(self, config: RunConfig, spec: Spec) -> str:
        plain = dataclasses.replace(spec, overrides=())
        base = resolve(SCALES[self.scale.name], plain, config.seed)
        return run_name(config, base, spec.model, spec.data)

    def _folder(self, results_dir: Path, name: str) -> RunDir:
        return RunDir(results_dir, self.workdir, self.scale.name, name, self.checkpoints)


def _only(overrides: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in overrides.items() if name in known}


def _fields(method: str) -> frozenset[str]:
    """Every override that a run of the method takes."""
    configs = (ModelConfig, AugmentConfig, OptimConfig, settings_class(method))
    names = {f.name for config in configs for f in dataclasses.fields(config)} - {"name", "size"}
    untrained = set() if preset(method).trains else {"total_steps"}
    return frozenset((names | {"augmentation", "warmup_epochs"}) - untrained)
