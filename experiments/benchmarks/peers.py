"""Our training step beside PyTorch's: `python experiments/benchmarks/peers.py --scale=paper --models=S --batch_size=8`.

The same models on both sides, in turns, on the same cores; views are made beforehand. Rows go to
`results/<scale>/peers.csv`, in place of those of the same setting. Every hyper-parameter is a flag. It says first how
long it takes. Needs PyTorch and transformers: `python -m pip install -r requirements-peers.txt -c requirements.txt`.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

import sys
from typing import Any

from absl import flags

from can.commands import cli
from can.errors import ConfigError
from can.system.machine import usable_cpus
from experiments.benchmarks import measurement, subjects
from experiments.benchmarks.measurement import Measurement
from experiments.benchmarks.subjects import Configs, Subject, Work
from experiments.harness.timing import Program, interleaved
from experiments.harness.training_step import TrainingStep

try:
    from experiments.benchmarks import torch_twins
except ModuleNotFoundError as error:
    sys.exit(
        f"error: this benchmark needs {error.name}, which is not installed: "
        "`python -m pip install -r requirements-peers.txt -c requirements.txt`"
    )


def measure(configs: Configs, rounds: int) -> dict[Subject, Measurement]:
    """Times our step and the twin's, both without augmentation."""
    programs: dict[Any, Program] = {}
    for subject, config in configs.items():
        programs[subject, "ours"] = TrainingStep(config).whole
        programs[subject, "theirs"] = torch_twins.training_step(config, usable_cpus())
        subjects.say(f"{subject}: compiled")
    seconds = interleaved(programs, rounds)
    return {
        subject: dict(peer="torch") | measurement.peer_speed(seconds[subject, "ours"], seconds[subject, "theirs"])
        for subject in configs
    }


def main() -> None:
    """Measures what the flags name, prints a line of each and writes the rows."""
    if missing := set(flags.FLAGS.methods) - set(torch_twins.METHODS):
        raise ConfigError(f"PyTorch's side has no {', '.join(sorted(missing))}: pass --methods=mae,simclr")
    configs, rounds = subjects.of_flags(), flags.FLAGS.rounds
    configs = {subject: torch_twins.same_model(config) for subject, config in configs.items()}
    subjects.say(Work.of(configs).plan(rounds, turns=2))
    found = measure(configs, rounds)
    for subject, one in found.items():
        print(
            f"{subject}: ours {one['ours_s'] * 1000:.1f} ms a step, PyTorch {one['theirs_s'] * 1000:.1f} ms, "
            f"{one['speedup']:.2f} ± {one['speedup_iqr']:.2f} times as long"
        )
    subjects.save("peers", configs, found)


if __name__ == "__main__":
    subjects.define_flags(methods=torch_twins.METHODS)
    cli.run(main)
