"""What a plan of runs costs: floating-point operations, and the time and memory that this machine takes for them."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Sequence
from typing import Any

from can.commands.done import look
from can.config import OptimConfig, RunConfig
from can.run_flops import step_flops
from experiments.harness.measured_speed import Device, Speed, Speeds
from experiments.harness.measured_step import Measured, measure
from experiments.harness.plan import Task

MEASURED = "a step measured here"
FACTORS = ("lambda_", "sigma_max")  # numbers of a method that something is multiplied by, whatever they are
FACTOR = 0.5


def plan_table(tasks: Sequence[Task], at_once: int, *, measured: bool = False) -> str:
    """A line a run: state, images, FLOPs and estimated minutes of what is missing, with their sum.

    Times and memory are those of runs and evaluations that were finished on such a device as this one; others are not
    known, and said to be not, unless a step is `measured` now. `at_once`: how many runs are made at a
    time, each with its share of the cores.
    """
    device = Device.here(at_once)
    speeds = Speeds(tasks[0].setting, pretraining_flops, device) if tasks else None
    step: Measured | None = None
    rows, runs = (max(map(len, names), default=0) for names in _names(tasks))
    lines = [f"{'row':{rows}} {'run':{runs}} {'images':>12} {'GFLOPs/image':>13} {'PFLOPs':>9} {'~minutes':>9}  state"]
    total, sources, unknown = 0.0, Counter[str](), Counter[str]()
    megabytes: list[Speed] = []
    for task in tasks:
        assert speeds is not None
        config = task.run.config
        images = config.optim.last_step * config.optim.batch_size
        flops = pretraining_flops(config)
        done = look(task.setting, task.run, task.evals)
        to_evaluate, reason = done.missing, done.reason_to_train
        state = reason or (f"to evaluate: {', '.join(to_evaluate)}" if to_evaluate else "done")
        seconds, known = 0.0, True
        if reason and flops:
            speed, memory = speeds.training(config), speeds.memory(config)
            if speed is None and measured:
                step = step or _measure_costliest(tasks)
            if speed is None and step:
                speed = Speed(step.flops_per_second / at_once, MEASURED)  # of the cores, each run has a share
                memory = None if step.megabytes is None else Speed(step.megabytes, MEASURED)
            if memory:
                megabytes.append(memory)
            if speed:
                sources[f"pre-training: {speed.where}"] += 1
                seconds += flops / speed.value
            else:
                known = False
                unknown["pre-training"] += 1
        for name in to_evaluate:
            if taken := speeds.evaluation(name, config):
                sources[f"{name}: {taken.where}"] += 1
                seconds += taken.value
            else:
                unknown[name] += 1
        total += seconds
        minutes = f"{seconds / 60:9.1f}" if known else f"{'?':>9}"
        lines.append(
            f"{task.run.spec!s:{rows}} {task.run.folder.name:{runs}} {images:12,} "
            f"{flops / max(images, 1) / 1e9:13.3f} {flops / 1e15:9.3f} {minutes}  {state}"
        )
    lines.append(f"missing: {_sum(total, at_once, sources, unknown)}, {at_once} runs at a time")
    lines += [f"  {source}, {count} runs" for source, count in sources.items()]
    if unknown:
        never = ", ".join(f"{name} ({count} runs)" for name, count in unknown.items())
        advice = "; --measure times a training step" if unknown["pre-training"] else ""
        lines.append(f"  not known, since never timed on {device}: {never}{advice}")
    if megabytes:
        most = max(megabytes)
        lines.append(f"memory of a run: up to {most.value / 1000:.1f} GB ({most.where})")
    elif unknown["pre-training"]:
        lines.append("memory of a run: not known")
    return "\n".join(lines)


def _measure_costliest(tasks: Sequence[Task]) -> Measured | None:
    """A step of the run with the most operations, timed here; of one only, since each takes a while to compile."""
    trained = [task.run.config for task in tasks if task.run.config.optim.last_step]
    if not trained:
        return None
    costliest = _shape_of(max(trained, key=pretraining_flops))
    return measure(costliest, _flops_per_step(costliest))


def _sum(total: float, at_once: int, known: Counter[str], unknown: Counter[str]) -> str:
    if not known and unknown:
        return "a time that is not known"
    return f"about {_duration(total / at_once)}" + (", and what is not known" if unknown["pre-training"] else "")


def _names(tasks: Sequence[Task]) -> tuple[list[str], list[str]]:
    return [str(task.run.spec) for task in tasks], [task.run.folder.name for task in tasks]


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
    method = config.method
    factors: dict[str, Any] = {
        field.name: FACTOR
        for field in dataclasses.fields(method)
        if field.name.startswith(FACTORS) and getattr(method, field.name) not in (0, 1)  # which leave a part out
    }
    return dataclasses.replace(config, epochs=0, seed=0, optim=optim, method=dataclasses.replace(method, **factors))
