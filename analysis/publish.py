"""The maintainers' command: publishes runs of this machine, and remakes every page: `python analysis/publish.py`.

    python analysis/publish.py --scale=laptop                 the tables of published results, and the pages
    python analysis/publish.py --scale=laptop --runs          first copies the finished runs of results/<scale>/
    python analysis/publish.py --trials                       first copies the trials of results/tuning/
    python analysis/publish.py --scale=laptop --processors    first compares published runs with the same ones in
                                                              --results_dir, made on another kind of processor

All pre-training that a table reads was made by one clean commit, and so was all of each evaluation: numbers that stand
beside each other were made alike. Several commits are as good as one where a run that one of them made was made anew by
another, on the same kind of processor, and is equal to the bit (`analysis/lib/made_anew.py`): start that run again with
the newest commit. An evaluation may be of a later commit than the runs, so that a new one does not ask for new runs.
Each row needs the seeds that SEEDS says; of a scale that is published in parts, rows with fewer are left out. Trials
build on each other: each is of a clean commit of its own, and has whatever seeds were tried.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

import dataclasses
import shutil
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from absl import flags

from analysis import make_all, make_claims, make_tuning, publish_pages
from analysis.lib import made_anew, processors
from analysis.lib.origins import PRETRAINING
from analysis.lib.results import YOURS, Results, read
from can.commands import cli
from can.commands import flags as setting_flags
from can.commands.setting import Setting
from can.commands.spec import Spec
from can.errors import ConfigError, DataError
from can.runs import RunDir
from can.system.checksums import checksum_of
from can.system.files import read_json
from experiments import table2_jft, table3_in1k, tune_laptop
from experiments.harness.declared import all_needs

SEEDS = {"smoke": 1, "overnight": 1}  # that a row needs, by scale; one seed decides nothing
OTHERWISE = 3
# What is made of the rows that are published, where not all are.
PARTS = dict.fromkeys(("evening", "overnight"), ("make_table2", "make_training_length"))
# What the paper quotes, and what we add to it, is shown where it is published; tables do not wait for it.
BESIDE = {*table2_jft.CITED, *table3_in1k.CITED, *table3_in1k.EXTENDED}
# What the paper has bars or pictures alone of: it asks for one seed, unless another table reads the same.
ONE_SEED = ("make_figure2", "make_figure5", "make_figure6")
CONFIG = "config.json"
OF_EACH_RUN = (CONFIG, "train.csv", "provenance.json")


def publish_runs(setting: Setting) -> list[str]:
    """Copies the reader's finished runs, with the evaluations that tables read, to the published ones.

    What is published of a run already stays beside them, if it is of the same weights. Returns what was done, and what
    was left out, as lines. Raises DataError, before anything is copied, if a row has too few seeds, or something was
    made by changed sources or by another commit than the rest of its kind.
    """
    found = read(all_needs(), setting)
    few = _too_few(found, setting)
    if few and setting.scale.name not in PARTS:
        raise DataError(next(iter(few.values())))
    found = _without(found, set(few))
    yours = [run for source, run in found.runs if source == YOURS]
    targets = {run.folder.name: setting.published(run.spec, run.config.seed).results for run in yours}
    if not targets:
        raise DataError(f"no finished runs in {setting.results_dir / setting.scale.name}")
    standing = _standing(found)
    files = {target: _files(*standing[name]) for name, target in targets.items()}
    for path in chain.from_iterable(files.values()):
        _clean_commit(path)
    anew = setting.published_dir / setting.scale.name / made_anew.FILE
    equal = made_anew.shown(found)
    _check_tables(setting, standing, pd.concat([made_anew.noted(anew), equal]))
    for folder, paths in files.items():
        _replace(folder, paths)
    made_anew.note(anew, equal)
    return [f"published {len(files)} runs", *(f"left out: {line}" for line in few.values()), *found.left_out]


def publish_trials(own: Path, published: Path) -> str:
    """Replaces the published trials by the finished ones of the stages below `own`; returns what was done.

    Raises DataError, before anything is copied, if there are none, or one was not made by a clean commit.
    """
    files = {run: _files(run, dict.fromkeys(evals, run)) for run, evals in make_tuning.finished(own).items()}
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

    A table is made if all that it needs is published, but for BESIDE; the scoreboard and PARTS, if anything of it is.
    """
    alone = dataclasses.replace(setting, results_dir=setting.published_dir)
    made = []
    for name, module in make_all.tables().items():
        needed = {(row, evaluation) for row, evaluation in _needs_of([module]) if row not in BESIDE}
        records = read(module.NEEDS, alone).records
        published = set(zip(records["row"], records["eval"], strict=True))
        in_part = module is make_claims or name in PARTS.get(setting.scale.name, ())
        if needed <= published or (in_part and needed & published):
            module.render(alone)
            made.append(name)
    return made


class Standing(NamedTuple):
    """What will be published of a run."""

    pretraining: RunDir
    evals: dict[str, RunDir]  # by evaluation, which folder's: the reader's, or the published one's


def _standing(found: Results) -> dict[str, Standing]:
    """By its name, what will be published of each run that the reader has or the repository publishes already."""
    standing: dict[str, Standing] = {}
    evals = found.records.groupby(["source", "run"])["eval"].unique()
    for source, run in sorted(found.runs, key=lambda entry: entry[0] == YOURS):  # the reader's replace the published
        folder = run.folder
        before = standing.get(folder.name)
        kept = before.evals if before and before.pretraining.weights == folder.weights else {}
        standing[folder.name] = Standing(folder, kept | dict.fromkeys(evals[source, folder.name], folder))
    return standing


def _too_few(found: Results, setting: Setting) -> dict[tuple[Spec, str], str]:
    """The rows and evaluations that would have the reader's numbers in too few seeds, with what is said of that."""
    standing, records = _standing(found), found.records
    stands = [
        evaluation in standing[run].evals for run, evaluation in zip(records["run"], records["eval"], strict=True)
    ]
    often = _needs_of(table for name, table in make_all.tables().items() if name not in (*ONE_SEED, "make_claims"))
    few = {}
    for (row, evaluation), of_row in records[stands].groupby(["row", "eval"], sort=False):
        needed = SEEDS.get(setting.scale.name, OTHERWISE) if (row, evaluation) in often else 1
        if YOURS in set(of_row["source"]) and (count := of_row["seed"].nunique()) < needed:
            few[row, evaluation] = (
                f"{evaluation} of {row} has {count} seeds: publish {needed} or more, with --seeds=0,1,2"
            )
    return few


def _without(found: Results, few: set[tuple[Spec, str]]) -> Results:
    """What was found, without the reader's numbers of these rows and evaluations."""
    records = found.records
    kept = [
        source != YOURS or (row, evaluation) not in few
        for source, row, evaluation in zip(records["source"], records["row"], records["eval"], strict=True)
    ]
    there = set(zip(records["source"][kept], records["run"][kept], strict=True))
    runs = [(source, run) for source, run in found.runs if (source, run.folder.name) in there]
    return dataclasses.replace(found, records=records[kept], runs=runs)


def _needs_of(modules: Iterable[Any]) -> set[tuple[Spec, str]]:
    """What the tables of these modules read: rows with their evaluations."""
    return {(need.spec, evaluation) for module in modules for need in module.NEEDS for evaluation in need.evals}


def _files(pretraining: RunDir, evals: Mapping[str, RunDir]) -> list[Path]:
    """What of a run is published: what pre-training left, and its evaluations with their curves and pictures."""
    if not pretraining.pretrained:
        raise DataError(f"{pretraining.name} is not pre-trained to its end: start its table again")
    log, noted = pretraining.results / "train.csv", pretraining.provenance.get("log")
    if noted not in (None, checksum_of(log)):  # None: of an earlier version
        raise DataError(f"{log} is not the log that its training wrote: restore it, or train with --force=train")
    beside = [folder.results / f"{name}{ending}" for name, folder in evals.items() for ending in (".csv", ".npz")]
    files = [folder.eval_path(name) for name, folder in evals.items()]
    return [*(pretraining.results / name for name in OF_EACH_RUN), *files, *(path for path in beside if path.exists())]


def _replace(folder: Path, paths: Sequence[Path]) -> None:
    """Makes `folder` hold copies of these files alone, of which some may be its own."""
    made = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    for path in paths:
        shutil.copy(path, made)
    shutil.rmtree(folder, ignore_errors=True)
    made.rename(folder)


def _check_tables(setting: Setting, standing: Mapping[str, Standing], equal: pd.DataFrame) -> None:
    """Raises DataError if what a table would read after this is of several commits: its runs, or one evaluation.

    Commits that `equal` joins (`analysis.lib.made_anew`) are as good as one.
    """
    for name, module in make_all.tables().items():
        if module is make_claims:  # it compares rows of one table at a time
            continue
        names = {run.folder.name for _, run in read(module.NEEDS, setting).runs}
        read_by_it = {run: of_run for run, of_run in standing.items() if run in names}
        kinds = {PRETRAINING: [run.pretraining.results / "provenance.json" for run in read_by_it.values()]}
        for evaluation in {evaluation for need in module.NEEDS for evaluation in need.evals}:
            made = [run.evals[evaluation] for run in read_by_it.values() if evaluation in run.evals]
            kinds[evaluation] = [folder.eval_path(evaluation) for folder in made]
        for kind, paths in kinds.items():
            if len(apart := made_anew.apart(kind, map(_clean_commit, paths), equal)) > 1:
                raise DataError(
                    f"{name} would read {kind} of {len(apart)} commits ({', '.join(apart)}): make all of it by one, or "
                    "make a run of the older anew by the newer, on the same kind of processor: is it equal?"
                )


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
    if flags.FLAGS.processors:
        print(processors.publish(read(all_needs(), setting), setting))
    if flags.FLAGS.trials:
        folders = (setting.results_dir, setting.published_dir)
        print(publish_trials(*(folder / "tuning" / tune_laptop.SCALE for folder in folders)))
    print(f"remade {', '.join([*remake_tables(setting), *publish_pages.remake()])}")


if __name__ == "__main__":
    setting_flags.define_setting_flags()
    flags.DEFINE_bool("runs", False, "first copy the finished runs of --results_dir")
    flags.DEFINE_bool("trials", False, "first copy the finished trials of --results_dir/tuning")
    flags.DEFINE_bool("processors", False, "first compare the runs of --results_dir, by another kind of processor")
    cli.run(main)
