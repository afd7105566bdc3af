"""The maintainers' command: publishes runs of this machine, and remakes every page: `python analysis/publish.py`.

    python analysis/publish.py --scale=laptop                 the tables of published results, and the pages
    python analysis/publish.py --scale=laptop --runs          first copies the finished runs of results/<scale>/
    python analysis/publish.py --trials                       first copies the trials of results/tuning/

All pre-training that a table reads was made by one clean commit, and so was all of each evaluation: numbers that stand
beside each other were made alike. An evaluation may be of a later commit than the runs, so that a new one does not ask
for new runs. Each row needs the seeds that SEEDS says. Trials build on each other: each is of a clean commit of its
own, and has whatever seeds were tried.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

import dataclasses
import shutil
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import pandas as pd
from absl import flags

from analysis import make_all, make_claims, make_tuning, publish_pages
from analysis.lib.results import YOURS, read
from can.errors import ConfigError, DataError
from can.files import read_json
from can.runs import RunDir
from experiments import tune_laptop
from experiments.harness import cli
from experiments.harness import flags as setting_flags
from experiments.harness.declared import all_needs
from experiments.harness.setting import Setting

SEEDS = {"smoke": 1, "overnight": 1}  # that a row needs, by scale; one seed decides nothing
OTHERWISE = 3
# What is made of the rows that are published, where not all are.
PARTS = {"overnight": ("make_table2", "make_training_length"), "laptop": ("make_table3",)}
ONE_SEED = {"few_shot", "few_shot_sgd", "robustness", "pictures"}  # of what the paper has bars or pictures alone
CONFIG = "config.json"
OF_EACH_RUN = (CONFIG, "train.csv", "provenance.json")


def publish_runs(setting: Setting) -> list[str]:
    """Copies the reader's finished runs, with the evaluations that tables read, to the published ones.

    Returns what was done, and what was left out, as lines. Raises DataError, before anything is copied, if a row has
    too few seeds, or something was made by changed sources or by another commit than the rest of its kind.
    """
    found = read(all_needs(), setting)
    runs = [run for source, run in found.runs if source == YOURS]
    if not runs:
        raise DataError(f"no finished runs in {setting.results_dir / setting.scale.name}")
    yours = found.records[found.records["source"] == YOURS]
    _check_seeds(yours, setting)
    evals = yours.groupby("run")["eval"].unique()  # of a run, which may be two specs
    published = {setting.published(run.spec, run.config.seed).results: run.folder for run in runs}
    files = {target: _files(folder, list(evals[folder.name])) for target, folder in published.items()}
    for path in chain.from_iterable(files.values()):
        _clean_commit(path)
    _check_tables(setting)
    for target, paths in files.items():
        _replace(target, paths)
    return [f"published {len(files)} runs", *found.left_out]


def publish_trials(own: Path, published: Path) -> str:
    """Replaces the published trials by the finished ones of the stages below `own`; returns what was done.

    Raises DataError, before anything is copied, if there are none, or one was not made by a clean commit.
    """
    files = {run: _files(run, evals) for run, evals in make_tuning.finished(own).items()}
    if not files:
        raise DataError(f"no finished trials in {own}")
    for path in chain.from_iterable(files.values()):
        _clean_commit(path)
    shutil.rmtree(published, ignore_errors=True)
    for run, paths in files.items():
        _replace(published / run.name, paths)
    return f"published {len(files)} trials"


def remake_tables(setting: Setting) -> list[str]:
    """Remakes the tables of the published results alone, beside them; returns their modules' names.

    A table is made if all that it needs is published; the scoreboard and PARTS, if anything of it is.
    """
    alone = dataclasses.replace(setting, results_dir=setting.published_dir)
    made = []
    for name, module in make_all.tables().items():
        needed = {(need.spec, evaluation) for need in module.NEEDS for evaluation in need.evals}
        records = read(module.NEEDS, alone).records
        published = set(zip(records["row"], records["eval"], strict=True))
        in_part = module is make_claims or name in PARTS.get(setting.scale.name, ())
        if needed <= published or (in_part and needed & published):
            module.render(alone)
            made.append(name)
    return made


def _check_seeds(records: pd.DataFrame, setting: Setting) -> None:
    for (row, evaluation), seeds in records.groupby(["row", "eval"], sort=False)["seed"]:
        needed = 1 if evaluation in ONE_SEED else SEEDS.get(setting.scale.name, OTHERWISE)
        if (count := seeds.nunique()) < needed:
            raise DataError(f"{evaluation} of {row} has {count} seeds: publish {needed} or more, with --seeds=0,1,2")


def _files(run: RunDir, evals: Sequence[str]) -> list[Path]:
    """What of a run is published: what pre-training left, and these evaluations with their curves and pictures."""
    if not run.pretrained:
        raise DataError(f"{run.name} is not pre-trained to its end: start its table again")
    beside = [run.results / f"{name}{ending}" for name in evals for ending in (".csv", ".npz")]
    files = [*(run.results / name for name in OF_EACH_RUN), *map(run.eval_path, evals)]
    return [*files, *(path for path in beside if path.exists())]


def _replace(folder: Path, paths: Sequence[Path]) -> None:
    """Makes `folder` hold copies of these files alone."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in paths:
        shutil.copy(path, folder)


def _check_tables(setting: Setting) -> None:
    """Raises DataError if what a table would read after this is of several commits: its runs, or one evaluation."""
    for name, module in make_all.tables().items():
        if module is make_claims:  # it compares rows of one table at a time
            continue
        sources = sorted(read(module.NEEDS, setting).runs, key=lambda entry: entry[0] == YOURS)
        folders = {run.folder.name: run.folder for _, run in sources}  # the reader's replace the published ones
        evals = {evaluation for need in module.NEEDS for evaluation in need.evals}
        kinds = {"provenance.json": [folder.results / "provenance.json" for folder in folders.values()]}
        for evaluation in evals:
            made = [folder.eval_path(evaluation) for folder in folders.values() if folder.has_eval(evaluation)]
            kinds |= {path.name: made for path in made}
        for kind, paths in kinds.items():
            if len(commits := {_clean_commit(path) for path in paths}) > 1:
                of = f"{len(commits)} commits ({', '.join(sorted(commits))})"
                raise DataError(f"{name} would read {kind} of {of}: make all of it by one")


def _clean_commit(path: Path) -> str:
    """By which commit a file was made, as it says itself; nothing for one that does not say."""
    if path.suffix != ".json" or path.name == CONFIG:
        return ""
    values = read_json(path)
    git = values.get("provenance", values)["git"]
    if git["commit"] is None or git["dirty"] is not False:  # null: git did not answer
        raise DataError(f"{path} was not made by a clean commit: make it from a fresh clone")
    return git["commit"]


def main() -> None:
    """Publishes what the flags name."""
    setting = setting_flags.setting()
    if setting.given:
        raise ConfigError(f"a scale is published as it is, without {' '.join(setting.given)}")
    if flags.FLAGS.runs:
        print("\n".join(publish_runs(setting)))
    if flags.FLAGS.trials:
        folders = (setting.results_dir, setting.published_dir)
        print(publish_trials(*(folder / "tuning" / tune_laptop.SCALE for folder in folders)))
    print(f"remade {', '.join([*remake_tables(setting), *publish_pages.remake()])}")


if __name__ == "__main__":
    setting_flags.define_setting_flags()
    flags.DEFINE_bool("runs", False, "first copy the finished runs of --results_dir")
    flags.DEFINE_bool("trials", False, "first copy the finished trials of --results_dir/tuning")
    cli.run(main)
