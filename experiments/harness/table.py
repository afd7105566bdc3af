"""Makes what a table needs: the runs that are missing, and the table after each."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence

from absl import flags

from can.commands import cli, environment, run_one, several_hosts
from can.commands import flags as setting_flags
from can.commands.spec import Need
from can.errors import ConfigError
from can.fields import Count, check_value
from can.system import hosts
from can.system.machine import usable_cpus, usable_memory_gb
from experiments.harness import cost, plan
from experiments.harness.plan import Task
from experiments.harness.side_by_side import Processes, check_jobs


def main(needs: Sequence[Need], analysis: str) -> None:
    """The command of a table: parses the flags, makes what is missing of `needs`, prints the table.

    `analysis`: the module in `analysis/` whose `render(setting, brief=...)` makes the table.
    """
    define_flags()
    cli.run(lambda: make(needs, analysis))


def define_flags() -> None:
    """Defines the flags of a setting, of a plan, and of several hosts that make it."""
    setting_flags.define_setting_flags()
    several_hosts.define_flags()
    flags.DEFINE_list("seeds", ["0"], "seeds of each row")
    flags.DEFINE_list("rows", [], "rows to make, e.g. can/vit_l or mae/vit_l/1600; default: all")
    flags.DEFINE_bool("dry_run", False, "print the plan with its cost, and exit")
    flags.DEFINE_bool("measure", False, "with --dry_run: time a step of what was never run on such a device")
    help_of_jobs = "runs at a time, each on cores of its own; default: on CPUs one a core, as memory allows, else one"
    flags.DEFINE_integer("jobs", None, help_of_jobs)
    help_of_seeds = "seeds of a row that one program pre-trains; default: all on an accelerator, one on CPUs"
    flags.DEFINE_integer("seeds_at_once", None, help_of_seeds)


def make(needs: Sequence[Need], analysis: str) -> None:
    """Makes what is missing of `needs` and prints the table.

    A run's numbers are the same to the bit on the same number of cores, which --jobs and the runs that are missing
    decide; sums over other numbers of cores round otherwise.

    Raises ConfigError, before anything runs, for a row or a seed that does not exist, a setting that cannot work, or a
    result that was made with other settings.
    """
    values, setting = flags.FLAGS, setting_flags.setting()
    tasks = plan.planned(needs, setting, plan.seeds(values.seeds), values.rows)
    at_once = jobs(values.jobs, setting.scale.run_memory_gb)
    together = seeds_at_once(values.seeds_at_once, at_once)
    if values.print_config:
        for task in tasks:
            print(setting_flags.describe(task.setting, task.run))
        return
    if values.dry_run:
        print(cost.plan_table(tasks, at_once, measured=values.measure))
        return
    render = importlib.import_module(f"analysis.{analysis}").render
    missing = hosts.decided(plan.missing, tasks)
    # As many processes whatever is missing: a run's share of the cores decides how its sums round.
    for _ in _complete_all(missing, at_once if missing else 1, together):
        if hosts.is_first():
            print(render(setting, brief=True), flush=True)
    if hosts.is_first():
        print(render(setting))


def jobs(asked: int | None, run_memory_gb: float | None) -> int:
    """How many runs to make at a time: what --jobs asks for, else one a core where `run_memory_gb` is given.

    Not more, though, than fit into three quarters of the memory. Raises ConfigError if --jobs cannot work.
    """
    if asked is not None:
        check_jobs(asked)
        if asked > 1 and hosts.are_several():
            raise ConfigError(f"--jobs={asked}: several hosts make one run at a time, leave --jobs out")
        return asked
    if run_memory_gb is None or environment.HAS_ACCELERATOR or hosts.are_several():
        return 1
    return max(min(usable_cpus(), int(0.75 * usable_memory_gb() / run_memory_gb)), 1)


def seeds_at_once(asked: int | None, runs_at_once: int) -> int:
    """How many seeds of a row one program pre-trains: what --seeds_at_once asks for, else all on an accelerator.

    Raises ConfigError if that cannot work.
    """
    if asked is None:
        return sys.maxsize if environment.HAS_ACCELERATOR and not hosts.are_several() else 1
    check_value("--seeds_at_once", asked, Count)
    if asked > 1 and hosts.are_several():
        raise ConfigError(f"--seeds_at_once={asked}: several hosts make one run at a time, leave it out")
    if asked > 1 and runs_at_once > 1:
        raise ConfigError(f"--seeds_at_once={asked} is one program, not {runs_at_once}: pass --jobs=1")
    return asked


def _complete_all(tasks: Sequence[Task], at_once: int, together: int) -> Iterator[None]:
    """Makes the runs, in their order or several at once; yields after each, or after those of a program."""
    if at_once <= 1:
        for group in plan.of_seeds(tasks, together):
            print(file=sys.stderr)
            _complete(group, f"{group[0].place} ")
            yield
        return
    print(f"{at_once} runs at a time, each on cores of its own (--jobs=1: one after the other)", file=sys.stderr)
    with Processes(at_once, cli.configure_logging) as processes:
        yield from processes.map_unordered(_complete_marked, [(task,) for task in plan.both_ends(tasks)])


def _complete(group: Sequence[Task], mark: str = "") -> None:
    for task in group:
        print(f"{mark}{task.row} seed {task.run.config.seed}: {task.run.folder.name}", file=sys.stderr, flush=True)
    run_one.complete_seeds(group[0].setting, [task.run for task in group], group[0].evals)


def _complete_marked(task: Task) -> None:
    with cli.marked_progress(task.place + " "):
        _complete([task])
