"""What a plan of runs costs: floating-point operations, and the time that this machine takes for them."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Sequence

from can.config import OptimConfig, RunConfig
from can.run_flops import step_flops
from experiments.harness.done import look
from experiments.harness.measured_speed import Speed, Speeds
from experiments.harness.plan import Task
from experiments.harness.timing import best_matmul

UTILISATION = 0.35  # share of the matmul speed that small models reach on a CPU, where no run is finished yet


def plan_table(tasks: Sequence[Task], at_once: int) -> str:
    """A line a run: state, images, FLOPs and estimated minutes of what is missing, with their sum.

    `at_once`: how many runs are made at a time. Times are those of earlier runs at the scale.
    """
    speeds = Speeds(tasks[0].setting, pretraining_flops) if tasks else None
    rows, runs = (max(map(len, names), default=0) for names in _names(tasks))
    lines = [f"{'row':{rows}} {'run':{runs}} {'images':>12} {'GFLOPs/image':>13} {'PFLOPs':>9} {'~minutes':>9}  state"]
    total, sources, unknown = 0.0, Counter[str](), Counter[str]()
    for task in tasks:
        assert speeds is not None
        config = task.run.config
        images = config.optim.last_step * config.optim.batch_size
        flops = pretraining_flops(config)
        done = look(task.setting, task.run, task.evals)
        to_evaluate, reason = done.missing, done.reason_to_train
        state = reason or (f"to evaluate: {', '.join(to_evaluate)}" if to_evaluate else "done")
        seconds = 0.0
        if reason and flops:
            speed = speeds.training(config) or _assumed()
            sources[f"pre-training: {speed.where}"] += 1
            seconds += flops / speed.value
        for name in to_evaluate:
            if taken := speeds.evaluation(name, config):
                sources[f"{name}: {taken.where}"] += 1
                seconds += taken.value
            else:
                unknown[name] += 1
        total += seconds
        lines.append(
            f"{task.row:{rows}} {task.run.folder.name:{runs}} {images:12,} "
            f"{flops / max(images, 1) / 1e9:13.3f} {flops / 1e15:9.3f} {seconds / 60:9.1f}  {state}"
        )
    lines.append(f"missing: about {_duration(total / at_once)}, {at_once} runs at a time")
    lines += [f"  {source}, {count} runs" for source, count in sources.items()]
    if unknown:
        never = ", ".join(f"{name} ({count} runs)" for name, count in unknown.items())
        lines.append(f"  without evaluations that were never timed: {never}")
    return "\n".join(lines)


def _names(tasks: Sequence[Task]) -> tuple[list[str], list[str]]:
    return [task.row for task in tasks], [task.run.folder.name for task in tasks]


@functools.cache
def _assumed() -> Speed:
    """What is taken for runs of which none is finished."""
    speed = best_matmul().flops_per_second
    return Speed(UTILISATION * speed, f"{UTILISATION:.0%} of this machine's {speed / 1e9:.0f} GFLOP/s, an assumption")


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds > 2 * 3600 else f"{seconds / 60:.0f} minutes"


def pretraining_flops(config: RunConfig) -> float:
    """Floating-point operations of a run's pre-training, as its step is traced; 0 for what is not trained."""
    steps = config.optim.last_step
    return float(_flops_per_step(_shape_of(config)) * steps) if steps else 0.0


@functools.cache
def _flops_per_step(config: RunConfig) -> int:
    return step_flops(config, num_classes=1000).total


def _shape_of(config: RunConfig) -> RunConfig:
    """The configuration without what changes no FLOPs, so that runs of one shape are traced once."""
    batch_size, accumulate = config.optim.batch_size, config.optim.accumulate
    optim = OptimConfig(0, 0, batch_size=batch_size, total_steps=1, warmup_steps=0, accumulate=accumulate)
    return dataclasses.replace(config, epochs=0, seed=0, optim=optim)
