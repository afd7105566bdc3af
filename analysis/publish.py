"""The maintainers' command: publishes runs of this machine, and remakes every page: `python analysis/publish.py`.

    python analysis/publish.py --scale=laptop                 the tables of published results, and the pages
    python analysis/publish.py --scale=laptop --runs          first copies the finished runs of results/<scale>/

A run is published only if it was made by one clean commit. `smoke` aside, each row needs three seeds.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

import dataclasses
import importlib
import pkgutil
import shutil
from collections.abc import Callable

from absl import flags

import analysis
from analysis.lib.results import YOURS, Results, read
from can.errors import DataError
from can.files import read_json
from can.runs import RunDir
from experiments.harness import cli
from experiments.harness import flags as setting_flags
from experiments.harness.declared import all_needs
from experiments.harness.setting import Setting

SEEDS = 3
KEPT = ("config.json", "train.csv", "provenance.json")


def publish_runs(setting: Setting) -> list[str]:
    """Copies the reader's finished runs to the published ones; returns their names.

    Raises DataError, before anything is copied, if one was made by changed sources or a row has too few seeds.
    """
    found = read(all_needs(), setting)
    runs = [run for source, run in found.runs if source == YOURS]
    _check_seeds(found, setting)
    commits = {_clean_commit(run.folder) for run in runs}
    if len(commits) != 1:
        raise DataError(f"the runs are of {len(commits)} commits ({', '.join(sorted(commits))}): make them all by one")
    for run in runs:
        target = setting.published(run.spec, run.config.seed).results
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for path in sorted(run.folder.results.iterdir()):
            if path.name in KEPT or path.suffix in (".json", ".csv"):
                shutil.copy(path, target)
    return [run.folder.name for run in runs]


def remake_tables(setting: Setting) -> list[str]:
    """Remakes the tables of the published results alone, beside them; returns their modules' names."""
    alone = dataclasses.replace(setting, results_dir=setting.published_dir)
    made = []
    for name, render in tables().items():
        render(alone)
        made.append(name)
    return made


def tables() -> dict[str, Callable[[Setting], str]]:
    """What makes each table or figure of declared runs: the modules of this folder that have NEEDS and `render`."""
    found = {}
    for script in pkgutil.iter_modules(analysis.__path__):
        if script.name.startswith("make_"):
            module = importlib.import_module(f"analysis.{script.name}")
            if hasattr(module, "NEEDS"):
                found[script.name] = module.render
    return found


def _check_seeds(found: Results, setting: Setting) -> None:
    if setting.scale.name == "smoke":
        return
    yours = found.records[found.records["source"] == YOURS]
    seeds = yours.groupby(["row", "eval"])["seed"].nunique()
    if not seeds.empty and seeds.min() < SEEDS:
        row, evaluation = seeds.idxmin()
        raise DataError(f"{evaluation} of {row} has {seeds.min()} seeds: publish {SEEDS} or more, with --seeds=0,1,2")


def _clean_commit(run: RunDir) -> str:
    git = read_json(run.results / "provenance.json")["git"]
    if git["commit"] is None or git["dirty"]:
        raise DataError(f"{run.name} was not made by a clean commit: make it from a fresh clone")
    return git["commit"]


def main() -> None:
    """Publishes what the flags name."""
    setting = setting_flags.setting()
    if flags.FLAGS.runs:
        print(f"published {len(publish_runs(setting))} runs")
    print(f"remade {', '.join(remake_tables(setting))}")


if __name__ == "__main__":
    setting_flags.define_setting_flags()
    flags.DEFINE_bool("runs", False, "first copy the finished runs of --results_dir")
    cli.run(main)
