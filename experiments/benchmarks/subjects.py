"""What the benchmarks of the training step measure: methods and models, as flags name them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from absl import flags

from can.commands import flags as setting_flags
from can.commands.spec import Spec
from can.config import RunConfig
from can.errors import check_choice
from can.run_flops import necessary_matmul_flops
from can.runs.provenance import peak_memory_mb
from experiments.benchmarks import measurement
from experiments.benchmarks.measurement import Measurement
from experiments.harness.timing import Matmul, best_matmul
from experiments.harness.training_step import NUM_CLASSES

METHODS = ("can", "simclr", "mae", "supervised")
UTILISATION = 0.35  # share of the matmul speed that small models reach on a CPU: an assumption, printed with the plan
COMPILATION = 20  # seconds a method and model, beginnings included: an assumption, printed with the plan


class Subject(NamedTuple):
    """A method and a model."""

    method: str
    model: str

    def __str__(self) -> str:
        return f"{self.method}/{self.model}"


Configs = Mapping[Subject, RunConfig]


def define_flags(methods: Sequence[str] = ("can", "simclr", "mae")) -> None:
    """--methods, --models and --rounds, beside --scale and every hyper-parameter."""
    setting_flags.define_setting_flags()
    flags.DEFINE_list("methods", list(methods), f"methods to time, of {', '.join(METHODS)}")
    flags.DEFINE_list("models", [], "roles or sizes of models; default: the scale's two")
    flags.DEFINE_integer("rounds", 10, "measurements of each program", lower_bound=1)


def of_flags() -> dict[Subject, RunConfig]:
    """The configurations that the flags describe. Raises ConfigError for an unknown name or an impossible setting."""
    values = flags.FLAGS
    for method in values.methods:
        check_choice("method to time", method, METHODS)
    setting = setting_flags.setting()
    named = [Subject(method, model) for model in values.models or setting.scale.models for method in values.methods]
    return {subject: setting.run(Spec(*subject, "in1k", 800), seed=0).config for subject in named}


class Work(NamedTuple):
    """Operations of one step of each subject, and the matrix product that tells the machine's peak."""

    flops: dict[Subject, int]
    matmul: Matmul

    @classmethod
    def of(cls, configs: Configs) -> Work:
        """Counts what each step has to compute (to compute it twice is no achievement), and looks for the peak."""
        flops = {subject: necessary_matmul_flops(config, NUM_CLASSES) for subject, config in configs.items()}
        return cls(flops, best_matmul(next(iter(configs.values())).model.dtype))

    def plan(self, rounds: int, turns: float) -> str:
        """How long it takes if a round has `turns` times the operations of a step."""
        speed = self.matmul.flops_per_second * UTILISATION
        minutes = (sum(self.flops.values()) / speed * turns * (2 * rounds + 1) + COMPILATION * len(self.flops)) / 60
        return (
            f"{', '.join(map(str, self.flops))}: {rounds} rounds of each, about {minutes:.0f} minutes at "
            f"{UTILISATION:.0%} of this machine's {self.matmul.flops_per_second / 1e9:.0f} GFLOP/s "
            f"(products of {self.matmul.size})"
        )


def save(name: str, configs: Configs, found: Mapping[Subject, Measurement], *more_setting: str) -> None:
    """Writes what was found into `<results_dir>/<scale>/<name>.csv` and says so.

    A later measurement of the same setting, `more_setting` being columns of it too, takes the place of an earlier one.
    """
    values = flags.FLAGS
    path = Path(values.results_dir) / values.scale / f"{name}.csv"
    aside = dict(rounds=values.rounds, process_peak_mb=peak_memory_mb()) | measurement.circumstances()
    settings = {subject: measurement.setting(config) for subject, config in configs.items()}
    columns = [*next(iter(settings.values())), *more_setting]
    measurement.save(path, [settings[subject] | found[subject] | aside for subject in configs], columns)
    print(measurement.told(path))


def say(text: str) -> None:
    """Tells the progress, apart from the results."""
    print(text, file=sys.stderr, flush=True)
