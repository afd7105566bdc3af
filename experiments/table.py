"""Makes the rows of a table: the runs that are missing, cheapest first, and the table after each."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

import cost
import run_flags
import run_one
from absl import flags

from can.config import RunConfig
from can.errors import ConfigError
from can.runs import RunDir


class Row(NamedTuple):
    """A row of a table: what is trained, on what, for how many of the paper's epochs, and how it is evaluated."""

    method: str
    model: str
    data: str
    epochs: float
    evals: tuple[str, ...] = ("linear_probe",)

    def __str__(self) -> str:
        return f"{self.method}/{self.model}/{self.epochs:g}"


def define_flags() -> None:
    """The flags of every table, beside those of a run."""
    run_flags.define_scale_flags()
    flags.DEFINE_list("seeds", ["0"], "seeds of each row")
    flags.DEFINE_list("rows", [], "rows to make, e.g. can/vit_l or mae/vit_l/1600; default: all")
    flags.DEFINE_bool("dry_run", False, "print the plan with its cost, and exit")


def make(rows: Sequence[Row], *, analysis: str) -> None:
    """Makes what is missing of `rows` and prints the table that `analysis/<analysis>.py` renders.

    Raises ConfigError, before anything runs, for a row or a seed that does not exist or a setting that cannot work.
    """
    values = flags.FLAGS
    chosen = select(rows, values.rows)
    plan = [
        (row, *run_flags.named_run(row.method, row.model, row.data, row.epochs, seed))
        for seed in seeds(values.seeds)
        for row in chosen
    ]
    if values.print_config:
        for _, config, run in plan:
            print(run_flags.describe(config, run))
        return
    if values.dry_run:
        print(cost.plan_table([(str(row), config, run, row.evals) for row, config, run in plan]))
        return
    sys.path.append(str(run_flags.REPOSITORY / "analysis"))
    for place, (row, config, run) in enumerate(sorted(plan, key=_seed_then_images), 1):
        if values.force or not is_done(config, run, row.evals):
            print(f"\n[{place}/{len(plan)}] {row} seed {config.seed}: {run.name}", file=sys.stderr, flush=True)
            run_one.complete(config, run, row.evals)
            print(_render(analysis, brief=True), flush=True)
    print(_render(analysis))


def is_done(config: RunConfig, run: RunDir, evals: Sequence[str]) -> bool:
    """Whether nothing is left to do. Raises ConfigError if the run's folder belongs to another configuration."""
    if run.reason_to_train(evals) is not None or not all(map(run.has_eval, evals)):
        return False
    run.claim(config)
    return True


def select(rows: Sequence[Row], patterns: Sequence[str]) -> list[Row]:
    """The rows whose name starts with one of the patterns, part by part. Raises ConfigError if one matches none."""

    def matches(row: Row, pattern: str) -> bool:
        parts = pattern.split("/")
        return str(row).split("/")[: len(parts)] == parts

    for pattern in patterns:
        if not any(matches(row, pattern) for row in rows):
            names = [str(row) for row in rows]
            near = difflib.get_close_matches(pattern, names, n=1, cutoff=0.3)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(f"no row {pattern!r}{hint} (rows: {', '.join(names)})")
    return [row for row in rows if not patterns or any(matches(row, pattern) for pattern in patterns)]


def seeds(texts: Sequence[str]) -> list[int]:
    """The seeds of --seeds. Raises ConfigError on what is not a number."""
    try:
        return [int(text) for text in texts]
    except ValueError as error:
        raise ConfigError(f"--seeds takes whole numbers, such as 0,1,2: {error}") from error


def _seed_then_images(entry: tuple[Row, RunConfig, RunDir]) -> tuple[int, int]:
    config = entry[1]
    return config.seed, config.optim.total_steps * config.optim.batch_size


def _render(analysis: str, brief: bool = False) -> str:
    """The table; `brief` leaves out what is said about it. Its three files are written either way."""
    values = flags.FLAGS
    return importlib.import_module(analysis).render(values.results_dir, values.scale, brief=brief)
