"""One seed, and several in one program: `python experiments/benchmarks/seeds_at_once.py --scale=laptop --seeds=1,3,8`.

On an accelerator a step of a small model waits for launches, which several seeds share; on CPUs they gain little.
Steps of all numbers of seeds take turns. Rows go to `results/<scale>/seeds_at_once.csv`, in place of those of the same
setting. Every hyper-parameter is a flag. It says first how long it takes.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from collections.abc import Sequence

from absl import flags

from can.commands import cli
from can.fields import Count, check_value
from experiments.benchmarks import measurement, subjects
from experiments.benchmarks.measurement import Measurement
from experiments.benchmarks.subjects import Configs, Subject, Work
from experiments.harness.timing import Program, interleaved
from experiments.harness.training_step import TrainingStep


def measure(configs: Configs, rounds: int, counts: Sequence[int]) -> dict[tuple[Subject, int], Measurement]:
    """Times a step of each subject, of each number of seeds."""
    steps: dict[tuple[Subject, int], TrainingStep] = {}
    programs: dict[tuple[Subject, int], Program] = {}
    for subject, config in configs.items():
        for count in counts:
            steps[subject, count] = TrainingStep(config, num_seeds=count)
            programs[subject, count] = steps[subject, count].whole
            subjects.say(f"{subject}: compiled, {count} seeds")
    seconds = interleaved(programs, rounds)
    found = {}
    for (subject, count), step in steps.items():
        alone, together = seconds[subject, counts[0]] / counts[0], seconds[subject, count]
        batch_size = configs[subject].optim.batch_size
        found[subject, count] = measurement.seeds_speed(alone, together, count, batch_size=batch_size) | dict(
            compile_s=step.compile_seconds, memory_mb=step.memory >> 20
        )
    return found


def main() -> None:
    """Measures what the flags name, prints a line of each and writes the rows."""
    values = flags.FLAGS
    counts = [int(text) if text.isdecimal() else text for text in values.seeds]
    for count in counts:
        check_value("--seeds", count, Count)
    configs = subjects.of_flags()
    subjects.say(Work.of(configs).plan(values.rounds, turns=sum(counts)))
    found = measure(configs, values.rounds, counts)
    for (subject, count), one in found.items():
        print(
            f"{subject}: {count} seeds {one['step_s'] * 1000:.1f} ms a step, {one['images_per_s']:,.0f} images/s, "
            f"{one['speedup']:.2f} times as many as with {counts[0]}"
        )
    for count in counts:
        subjects.save("seeds_at_once", configs, {subject: found[subject, count] for subject in configs}, "seeds")


if __name__ == "__main__":
    subjects.define_flags()
    flags.DEFINE_list("seeds", ["1", "3", "8"], "numbers of seeds that one program trains")
    cli.run(main)
