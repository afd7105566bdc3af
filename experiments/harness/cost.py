"""What a plan of runs costs: floating-point operations, and the time that this machine takes for them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

from can.config import OptimConfig, RunConfig
from can.run_flops import step_flops
from experiments.harness import run_one
from experiments.harness.plan import Task
from experiments.harness.timing import best_matmul

UTILISATION = 0.35  # share of the matmul speed that small models reach on a CPU: an assumption, printed with the plan


def plan_table(tasks: Sequence[Task]) -> str:
    """A line a run: state, images, FLOPs and estimated minutes of pre-training, with the sum of what is missing."""
    speed = best_matmul().flops_per_second
    lines = [f"{'row':24} {'run':40} {'images':>12} {'GFLOPs/image':>13} {'PFLOPs':>9} {'~minutes':>9}  state"]
    missing = 0.0
    for task in tasks:
        config = task.run.config
        images = config.optim.last_step * config.optim.batch_size
        flops = pretraining_flops(config)
        minutes = flops / (speed * UTILISATION) / 60
        to_evaluate = run_one.missing_evals(task.setting, task.run, task.evals)
        reason = run_one.reason_to_train(task.setting, task.run, to_evaluate)
        state = reason or (f"to evaluate: {', '.join(to_evaluate)}" if to_evaluate else "done")
        missing += minutes if reason else 0.0
        lines.append(
            f"{task.run.spec!s:24} {task.run.folder.name:40} {images:12,} "
            f"{flops / max(images, 1) / 1e9:13.3f} {flops / 1e15:9.2f} {minutes:9.1f}  {state}"
        )
    lines.append(
        f"missing: about {missing:.0f} minutes at {UTILISATION:.0%} of this machine's {speed / 1e9:.0f} GFLOP/s"
    )
    return "\n".join(lines)


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
