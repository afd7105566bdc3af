"""Which runs a table needs, in which order they are made, and which of them are missing."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Any, NamedTuple

from can.commands.done import look
from can.commands.setting import Run, Setting
from can.commands.spec import Need
from can.errors import ConfigError
from experiments.harness.rows import matching, row_name


class Task(NamedTuple):
    """One run of a plan, with what is asked of it."""

    place: str  # "[3/13]"
    setting: Setting  # with those overrides alone that the run's method knows
    run: Run
    evals: tuple[str, ...]
    row: str  # what --rows calls it


def planned(needs: Sequence[Need], setting: Setting, seeds: Sequence[int], rows: Sequence[str] = ()) -> list[Task]:
    """The runs of the needs whose names match `rows` (all if there are none), short ones of the first seed first.

    Specs that are one run at this scale, such as a base and its override by the base's own value, are one task. Raises
    ConfigError for a row that does not exist or a setting that cannot work.
    """
    chosen = matching(needs, rows)
    tasks: dict[str, Task] = {}
    for seed in seeds:
        for need, own in setting.for_table(needs):
            if need in chosen:
                run = own.run(need.spec, seed)
                task = tasks.setdefault(run.folder.name, Task("", own, run, (), row_name(need.spec, needs)))
                tasks[run.folder.name] = task._replace(evals=tuple(dict.fromkeys((*task.evals, *need.evals))))
    runs = sorted(tasks.values(), key=lambda task: (task.run.config.seed, task.run.config.optim.total_steps))
    return [task._replace(place=f"[{place}/{len(runs)}]") for place, task in enumerate(runs, 1)]


def missing(tasks: Sequence[Task]) -> list[Task]:
    """What is not done. Raises ConfigError if a result is there that was made with other settings."""
    return [task for task in tasks if look(task.setting, task.run, task.evals).stage != "evaluated"]


def seeds(texts: Sequence[str]) -> list[int]:
    """The seeds of --seeds, each once. Raises ConfigError on what is not a number from 0 on."""
    if not texts or not all(text.strip().isdecimal() for text in texts):
        raise ConfigError(f"--seeds takes whole numbers from 0 on, such as 0,1,2: not {','.join(texts)!r}")
    return list(dict.fromkeys(int(text) for text in texts))


def of_seeds(tasks: Sequence[Task], at_once: int) -> list[list[Task]]:
    """The tasks in groups of up to `at_once` that differ in their seeds alone, in the order of the first ones.

    One at a time, they stay in their order.
    """
    if at_once == 1:
        return [[task] for task in tasks]
    alike: dict[Any, list[Task]] = {}
    for task in tasks:
        alike.setdefault((dataclasses.replace(task.run.config, seed=0), task.evals), []).append(task)
    return [group[start : start + at_once] for group in alike.values() for start in range(0, len(group), at_once)]


def both_ends(tasks: Sequence[Task]) -> list[Task]:
    """Each seed's tasks in the order first, last, second, last but one, and so on.

    Runs come in the order of their cost: so some numbers are there soon, and no long run is left to a single process.
    """
    order: list[Task] = []
    for seed in dict.fromkeys(task.run.config.seed for task in tasks):
        own = [task for task in tasks if task.run.config.seed == seed]
        half = -(-len(own) // 2)
        pairs = zip_longest(own[:half], reversed(own[half:]))
        order += [task for task in chain.from_iterable(pairs) if task is not None]
    return order
