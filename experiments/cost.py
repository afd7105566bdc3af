"""What a plan of runs costs: floating-point operations, and the time that this machine takes for them."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from can.config import OptimConfig, RunConfig
from can.flops import count_flops
from can.runs import RunDir
from can.train import abstract_state, make_train_step

UTILISATION = 0.35  # share of the matmul speed that small models reach on a CPU: an assumption, printed with the plan


def plan_table(plan: Sequence[tuple[str, RunConfig, RunDir, Sequence[str]]]) -> str:
    """A line a run: state, images, FLOPs and estimated minutes of pre-training, with the sum of what is missing.

    `plan`: each row's name, configuration, folders and evaluations.
    """
    speed = matmul_flops_per_second()
    lines = [f"{'row':24} {'run':40} {'images':>12} {'GFLOPs/image':>13} {'PFLOPs':>9} {'~minutes':>9}  state"]
    missing = 0.0
    for row, config, run, evals in plan:
        images = config.optim.last_step * config.optim.batch_size
        per_image = step_flops(_shape_of(config)) / config.optim.batch_size if images else 0.0
        minutes = per_image * images / (speed * UTILISATION) / 60
        reason = run.reason_to_train(evals)
        to_evaluate = [name for name in evals if not run.has_eval(name)]
        state = reason or (f"to evaluate: {', '.join(to_evaluate)}" if to_evaluate else "done")
        missing += minutes if reason else 0.0
        lines.append(
            f"{row:24} {run.name:40} {images:12,} {per_image / 1e9:13.3f} {per_image * images / 1e15:9.2f} "
            f"{minutes:9.1f}  {state}"
        )
    lines.append(
        f"missing: about {missing:.0f} minutes at {UTILISATION:.0%} of this machine's {speed / 1e9:.0f} GFLOP/s"
    )
    return "\n".join(lines)


def matmul_flops_per_second() -> float:
    """The speed of a large float32 matrix product on this machine, measured for a moment."""
    x = jnp.ones((2048, 2048))
    product = jax.jit(lambda x: x @ x)
    product(x).block_until_ready()
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        product(x).block_until_ready()
        best = min(best, time.perf_counter() - start)
    return 2 * 2048**3 / best


@functools.cache
def step_flops(config: RunConfig) -> float:
    """FLOPs of one training step, traced, not run."""
    graphdef, state = abstract_state(config, num_classes=1000)
    batch, size = config.optim.batch_size, config.model.image_size
    images = jax.ShapeDtypeStruct((batch, size, size, 3), jnp.uint8)
    labels = jax.ShapeDtypeStruct((batch,), jnp.int32)
    rate, key = jax.ShapeDtypeStruct((), jnp.float32), jax.eval_shape(lambda: jax.random.key(0))
    step = make_train_step(graphdef, config)
    return count_flops(step, state, {"image": images, "label": labels}, rate, key).total


def _shape_of(config: RunConfig) -> RunConfig:
    """The configuration without what changes no FLOPs, so that runs of one shape are traced once."""
    optim = OptimConfig(base_lr=0, weight_decay=0, batch_size=config.optim.batch_size, total_steps=1, warmup_steps=0)
    return dataclasses.replace(config, epochs=0, seed=0, optim=optim)
