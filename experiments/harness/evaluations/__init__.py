"""The evaluations of a pre-trained run, by name: `EVALS[name](config, run)` returns its records.

To add one, add a file and a line to EVALS; what it measures is in `can.evals`, what is here says on which data.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from can.config import RunConfig
from can.runs import EvalRecord, RunDir
from experiments.harness.evaluations.few_shot import few_shot, few_shot_mean_rank
from experiments.harness.evaluations.finetune import finetune
from experiments.harness.evaluations.linear_probe import linear_probe
from experiments.harness.evaluations.robustness import robustness

EVALS: dict[str, Callable[[RunConfig, RunDir], list[EvalRecord]]] = {
    "few_shot": few_shot,
    "few_shot_mean_rank": few_shot_mean_rank,
    "few_shot_sgd": partial(few_shot, rule="sgd"),
    "finetune": finetune,
    "finetune_mae": partial(finetune, recipe="mae"),
    "finetune_scratch": partial(finetune, recipe="scratch"),
    "linear_probe": linear_probe,
    "robustness": robustness,
}
