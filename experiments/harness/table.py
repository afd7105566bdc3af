"""Makes the rows of a table: the runs that are missing, and the table after each."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Iterator, Sequence
from itertools import chain, zip_longest
from typing import NamedTuple

from absl import flags

from can.config import RunConfig
from can.errors import ConfigError
from can.machine import usable_cpus, usable_memory_gb
from can.runs import RunDir
from experiments.harness import cli, cost, environment, run_flags, run_one
from experiments.harness.side_by_side import Processes, check_jobs


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
    help_of_jobs = "runs at a time, each on cores of its own; default: at laptop one a core, as memory allows, else one"
    flags.DEFINE_integer("jobs", None, help_of_jobs)


def make(rows: Sequence[Row], *, analysis: str) -> None:
    """Makes what is missing of `rows` and prints the table that `analysis/<analysis>.py` renders.

    A run's numbers are the same to the bit on the same number of cores, which --jobs and the runs that are missing
    decide; sums over other numbers of cores round otherwise.

    Raises ConfigError, before anything runs, for a row or a seed that does not exist or a setting that cannot work.
    """
    values = flags.FLAGS
    chosen = select(rows, values.rows)
    at_once = jobs(values.jobs, run_flags.scale().run_memory_gb)
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
    missing = [
        (f"[{place}/{len(plan)}] ", row, config.seed)
        for place, (row, config, run) in enumerate(sorted(plan, key=_seed_then_images), 1)
        if values.force or not is_done(config, run, row.evals)
    ]
    for _ in _complete_all(missing, min(at_once, len(missing))):
        print(_render(analysis, brief=True), flush=True)
    print(_render(analysis))


def jobs(asked: int | None, run_memory_gb: float | None) -> int:
    """How many runs to make at a time: what --jobs asks for, else one a core where `run_memory_gb` is given.

    Not more, though, than fit into three quarters of the memory. Raises ConfigError if --jobs cannot work.
    """
    if asked is not None:
        check_jobs(asked)
        return asked
    if run_memory_gb is None or environment.HAS_ACCELERATOR:
        return 1
    return max(min(usable_cpus(), int(0.75 * usable_memory_gb() / run_memory_gb)), 1)


_Call = tuple[str, Row, int]  # what marks its progress, what to make, the seed


def _complete_all(calls: Sequence[_Call], at_once: int) -> Iterator[None]:
    """Makes the runs, in their order or several at once; yields after each."""
    if at_once <= 1:
        for call in calls:
            print(file=sys.stderr)
            _complete(*call)
            yield
        return
    print(f"{at_once} runs at a time, each on cores of its own (--jobs=1: one after the other)", file=sys.stderr)
    with Processes(at_once, _begin) as processes:
        yield from processes.map_unordered(_complete_marked, both_ends(calls))


def _complete(mark: str, row: Row, seed: int) -> None:
    config, run = run_flags.named_run(row.method, row.model, row.data, row.epochs, seed)
    print(f"{mark}{row} seed {seed}: {run.name}", file=sys.stderr, flush=True)
    run_one.complete(config, run, row.evals)


def _complete_marked(mark: str, row: Row, seed: int) -> None:
    with cli.marked_progress(mark):
        _complete("", row, seed)


def _begin() -> None:
    """Gives a process that was just started the flags of this one, and its way to log."""
    define_flags()
    flags.FLAGS(sys.argv)
    cli.configure_logging()


def both_ends(calls: Sequence[_Call]) -> list[_Call]:
    """Of each seed, the first call, the last, the second, the last but one, and so on.

    Of runs in the order of their cost, some numbers are there soon then, and no long run is left to a single process.
    """
    order: list[_Call] = []
    for seed in dict.fromkeys(call[2] for call in calls):
        own = [call for call in calls if call[2] == seed]
        half = -(-len(own) // 2)
        pairs = zip_longest(own[:half], reversed(own[half:]))
        order += [call for call in chain.from_iterable(pairs) if call is not None]
    return order


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
    """The seeds of --seeds, each once. Raises ConfigError on what is not a number."""
    try:
        return list(dict.fromkeys(int(text) for text in texts))
    except ValueError as error:
        raise ConfigError(f"--seeds takes whole numbers, such as 0,1,2: {error}") from error


def _seed_then_images(entry: tuple[Row, RunConfig, RunDir]) -> tuple[int, int]:
    config = entry[1]
    return config.seed, config.optim.total_steps * config.optim.batch_size


def _render(analysis: str, brief: bool = False) -> str:
    """The table; `brief` leaves out what is said about it. Its three files are written either way."""
    values = flags.FLAGS
    return importlib.import_module(f"analysis.{analysis}").render(values.results_dir, values.scale, brief=brief)
