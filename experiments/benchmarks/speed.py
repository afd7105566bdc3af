"""How fast the training step is, and where its time goes: `python experiments/benchmarks/speed.py --scale=laptop`.

    python experiments/benchmarks/speed.py --scale=paper --models=L --depth=2 --decoder_depth=1 --batch_size=16

All methods and models of a start take turns in one process, and with them the matrix product that this machine is
fastest at, so that shares and ratios are of the same minutes. It says first what it will do and how long that takes: at
`laptop` about four minutes on two cores. Rows go to `results/<scale>/speed.csv`, in place of those of the same setting.
Every hyper-parameter is a flag.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from typing import Any

from absl import flags

from can.commands import cli
from experiments.benchmarks import measurement, subjects
from experiments.benchmarks.measurement import Measurement
from experiments.benchmarks.subjects import Configs, Subject, Work
from experiments.harness.timing import Program, interleaved
from experiments.harness.training_step import TrainingStep

TURNS = 2.4  # steps a round: the step's beginnings take about .05, .35 and 1 of it, and then the whole


def measure(configs: Configs, work: Work, rounds: int) -> dict[Subject, Measurement]:
    """Times the step of each subject, whole and up to the end of each part."""
    steps = {}
    programs: dict[Any, Program] = {"matmul": work.matmul.program}
    for subject, config in configs.items():
        step = steps[subject] = TrainingStep(config)
        programs |= {(subject, part): program for part, program in step.beginnings().items()}
        subjects.say(f"{subject}: compiled, the whole step in {step.compile_seconds:.1f} s")
    seconds = interleaved(programs, rounds)

    peak, last = work.matmul.flops / seconds["matmul"], TrainingStep.parts[-1]
    found = {}
    for subject, config in configs.items():
        beginnings = {part: seconds[subject, part] for part in TrainingStep.parts}
        flops = work.flops[subject]
        found[subject] = measurement.step_speed(beginnings, peak, flops=flops, batch_size=config.optim.batch_size)
        rival = subject._replace(method="simclr")
        if rival in configs:
            found[subject] |= measurement.simclr_ratios(
                seconds[rival, last], work.flops[rival], seconds[subject, last], flops
            )
        found[subject] |= dict(compile_s=steps[subject].compile_seconds, memory_mb=steps[subject].memory >> 20)
    return found


def main() -> None:
    """Measures what the flags name, prints a line of each and writes the rows."""
    configs, rounds = subjects.of_flags(), flags.FLAGS.rounds
    work = Work.of(configs)
    subjects.say(work.plan(rounds, TURNS))
    found = measure(configs, work, rounds)
    for subject, one in found.items():
        print(
            f"{subject}: step {one['step_s'] * 1000:.1f} ± {one['step_iqr_s'] * 1000:.1f} ms, "
            f"{one['images_per_s']:,.1f} images/s, {one['share_of_peak']:.0%} of the peak"
        )
    subjects.save("speed", configs, found)


if __name__ == "__main__":
    subjects.define_flags()
    cli.run(main)
