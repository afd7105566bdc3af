"""What changes from step to step: the learning rate, and what a method has beside it."""

from __future__ import annotations

from collections.abc import Callable

from can.config import RunConfig
from can.methods import method_class
from can.optim import cosine, learning_rate_schedule


def rates(config: RunConfig) -> Callable[[int], dict[str, float]]:
    """The values of a step by name: `learning_rate`, `weight_decay` if it grows, and the method's `schedules`.

    Functions of the host, in plain floats: the training step takes them as arguments, so that runs of other lengths
    share one compiled program.
    """
    optim = config.optim
    schedules = {
        "learning_rate": learning_rate_schedule(optim.peak_lr, optim.warmup_steps, optim.total_steps, optim.last_lr)
    } | method_class(config.method.name).schedules(config)
    if optim.weight_decay_growth != 1:
        last = optim.weight_decay * optim.weight_decay_growth
        schedules["weight_decay"] = cosine(optim.weight_decay, last, optim.total_steps)
    return lambda step: {name: schedule(step) for name, schedule in schedules.items()}
