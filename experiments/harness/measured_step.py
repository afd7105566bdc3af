"""A training step that is timed here, for plans of runs of which none is finished on such a device."""

from __future__ import annotations

import dataclasses
import time
from typing import NamedTuple

import jax

from can.config import RunConfig
from can.methods import method_class
from can.runs.provenance import peak_memory_mb
from experiments.harness.training_step import TrainingStep

STEPS = 3  # timed ones, of which the fastest counts, after one that is not
FLOPS = {"cpu": 2e11}  # of a step, about: a second or a few ...
ON_ACCELERATORS = 1e14  # ... of a device


class Measured(NamedTuple):
    """What a step tells."""

    flops_per_second: float
    megabytes: float | None  # that a run takes; None if only a part of its batch was tried


def measure(config: RunConfig, flops_per_step: float) -> Measured:
    """Times the step of `config`, whose operations the caller has counted, on all cores or accelerators.

    Of a batch that would take minutes, a part is timed: operations grow with it.
    """
    most = FLOPS.get(jax.default_backend(), ON_ACCELERATORS * jax.device_count())
    batch = config.optim.batch_size
    least = max(method_class(config.method.name).min_batch, 1)
    while batch // 2 >= least and flops_per_step * batch / config.optim.batch_size > most:
        batch //= 2
    part = dataclasses.replace(config, optim=dataclasses.replace(config.optim, batch_size=batch, accumulate=1))
    step = TrainingStep(part, anew=False)
    jax.block_until_ready(step.whole())
    times = []
    for _ in range(STEPS):
        start = time.perf_counter()
        jax.block_until_ready(step.whole())
        times.append(time.perf_counter() - start)
    whole = batch == config.optim.batch_size
    on_host = jax.default_backend() == "cpu"
    megabytes = (peak_memory_mb() if on_host else step.memory / 2**20) if whole else None
    return Measured(flops_per_step * batch / config.optim.batch_size / min(times), megabytes)
