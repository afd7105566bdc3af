"""The step of several runs at a time, each on cores of its own, beside that of one run on all cores."""

from __future__ import annotations

from collections.abc import Hashable
from functools import partial

import jax

from can.commands import cli
from can.config import RunConfig
from experiments.harness.side_by_side import Processes
from experiments.harness.timing import Program
from experiments.harness.training_step import TrainingStep

STEPS = 10  # of each run in a call of the program: only behind them do the runs wait for each other
_prepared: dict[Hashable, TrainingStep] = {}  # in each process


class RunsAtATime(Processes):
    """`count` processes that train the same."""

    def __init__(self, count: int) -> None:
        super().__init__(count, cli.configure_logging)

    def training_steps(self, name: Hashable, config: RunConfig) -> Program:
        """Compiles the step of `config` in every process; what it returns trains STEPS steps in each."""
        self.each(_prepare, name, config)
        return partial(self.each, _train, name)


def _prepare(name: Hashable, config: RunConfig) -> None:
    _prepared[name] = TrainingStep(config)


def _train(name: Hashable) -> None:
    for _ in range(STEPS):
        jax.block_until_ready(_prepared[name].whole())
