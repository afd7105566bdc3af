"""The results that a table's needs ask for, as one tidy frame: what this repository publishes, and the reader's own.

What a run logged in training is read here as well.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.lib.markup import code, literal
from analysis.lib.origins import PRETRAINING, Origin, origin
from analysis.lib.uncounted import Seeds, lacking, lost, without_config
from can.commands.evaluations import EVALS
from can.commands.setting import Run, Setting
from can.commands.spec import Need, Spec
from can.errors import DataError, first_line
from can.runs import EvalRecord, RunDir, correct_of
from can.runs.beside import COLUMNS as SEEN
from can.runs.name import differences

TAIL = 0.1  # the share of the steps that counts as the end of training
PUBLISHED, YOURS = "published", "yours"
Owned = tuple[str, str]  # a source, and a run's name
COLUMNS = [
    "source",  # PUBLISHED or YOURS
    "row",  # the Spec: what the runs of a row share
    "run",  # its name; two specs may be one run at a scale
    "method",
    "model",
    "data",
    "epochs",  # of the paper
    "seed",
    "images",  # seen in pre-training, views not counted twice
    "steps",
    "eval",
    "metric",
    "value",  # as the file has it: a share in [0, 1] of what is an accuracy
    "n",  # test images
    "short_classes",  # of few-shot classification: how many classes have fewer images than shots
    "correct",  # float [n], how often each of them was right, in [0, 1]; None where the file does not say
]


@dataclasses.dataclass(frozen=True)
class Results:
    """What was found for some needs.

    Attributes:
      records: a line a number, with COLUMNS.
      runs: the runs that have at least one of the evaluations, with their source.
      left_out: what was found and is not shown, and why, as items of a list for the reader.
      mixed: data sets of which not all runs read the same images, as such items.
      origins: who made each run, and each of its evaluations.
    """

    records: pd.DataFrame
    runs: list[tuple[str, Run]]
    left_out: list[str]
    mixed: list[str]
    origins: list[Origin] = dataclasses.field(default_factory=list)

    def of(self, source: str, evaluation: str, metric: str) -> pd.DataFrame:
        """The runs' numbers of one metric."""
        records = self.records
        found = (records["source"] == source) & (records["eval"] == evaluation) & (records["metric"] == metric)
        return records[found]

    @property
    def sources(self) -> list[str]:
        """Whose results were found, the published ones first."""
        there = set(self.records["source"])
        return [source for source in (PUBLISHED, YOURS) if source in there]

    @property
    def shown(self) -> list[str]:
        """The sources that tables have columns of: those found or, where nothing is measured, the reader's."""
        return self.sources or [YOURS]


def read(needs: Iterable[Need], setting: Setting) -> Results:
    """Every seed's results of the needs that were made with this setting.

    A result that was made otherwise is left out, with a line that shows the difference. Raises DataError if a file is
    damaged.
    """
    lines: list[dict[str, Any]] = []
    runs: list[tuple[str, Run]] = []
    left_out: dict[tuple[str, str], list[Owned]] = {}  # (what, how it differs) -> of which runs
    images: dict[str, dict[str, list[Owned]]] = {}  # data set -> fingerprint -> of which runs
    uncounted: dict[str, None] = {}  # items, in order
    origins: list[Origin] = []
    for need, own in setting.for_table(tuple(needs)):
        seeds = Seeds()
        folders = _folders(need.spec, own)
        for first, source in folders:
            uncounted |= dict.fromkeys(without_config(first, source))
        for source, run in _runs(need.spec, own, folders):
            name = source, run.folder.name
            if different := differences(run.folder.config.to_dict(), run.config.to_dict()):
                left_out.setdefault(("pre-training", different), []).append(name)
                continue
            uncounted |= dict.fromkeys(lost(run, source, need.evals))
            if copied := seeds.copied(run, source):
                uncounted[copied] = None
                continue
            found = False
            for evaluation in filter(run.folder.has_eval, need.evals):
                evaluated = run.folder.read_eval(evaluation)
                different = evaluated.differs(EVALS[evaluation].protocol(own, run))
                if not run.folder.pretrained:
                    different = "\n".join(filter(None, [different, "  weights: pre-training has not ended"]))
                elif evaluated.fingerprints.get("weights") != run.folder.weights:
                    different = "\n".join(filter(None, [different, "  weights: others than pre-training ended with"]))
                if different:
                    left_out.setdefault((evaluation, different), []).append(name)
                    continue
                found = True
                who = source, need.spec, run.folder.name, run.config.seed
                origins.append(origin(*who, evaluation, evaluated.provenance))
                lines += _records(source, run, evaluation, evaluated.records)
                for data, fingerprint in evaluated.fingerprints.items():
                    if data != "weights":
                        images.setdefault(data, {}).setdefault(fingerprint, []).append(name)
            if found:
                runs.append((source, run))
                origins.append(origin(*who, PRETRAINING, run.folder.provenance))
    items = [*_left_out(left_out), *uncounted, *lacking(lines)]
    return Results(pd.DataFrame(lines, columns=COLUMNS), runs, items, _mixed(images), origins)


def per_cent(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with their shares in per cent, as `analysis.lib.significance` takes them."""
    return runs.assign(value=100 * runs["value"])


def read_curve(path: Path) -> pd.DataFrame:
    """The lines of a `train.csv`, one a step that was logged; none of a run without training.

    Raises DataError if the file is missing or no such log: all its cells are finite numbers, but for what was seen
    beside training now and then; its steps ascend from 1.
    """
    try:
        curve = pd.read_csv(path)
        numbers = curve.drop(columns=[name for name in SEEN if name in curve]).to_numpy(np.float64)
        if curve.size and not (np.isfinite(numbers).all() and (np.diff(curve["step"], prepend=0) >= 1).all()):
            raise ValueError("its cells are not finite numbers by ascending steps")
    except pd.errors.EmptyDataError:  # of a run that is not trained
        return pd.DataFrame()
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing or empty: pre-train the run again") from error
    except (OSError, TypeError, KeyError, ValueError) as error:  # ValueError: pandas' own errors, and no UTF-8
        first = first_line(error)
        raise DataError(f"{path} is damaged ({first}): pre-train the run again") from error
    return curve


def tail_mean(run: Run, column: str) -> float | None:
    """The mean of a column over the last tenth of a run's steps; None if the file has no such column.

    A line holds the mean over the steps since the line before. Those count that lie in the last tenth as a whole, or
    the last line if none does. Raises DataError if the file is missing, damaged, or does not go to the last step.
    """
    path = run.folder.results / "train.csv"
    curve = read_curve(path)
    if curve.empty:
        raise DataError(f"{path} is missing or empty: pre-train the run again")
    if (end := int(curve["step"].iloc[-1])) != run.config.optim.last_step:
        raise DataError(
            f"{path} is damaged (it ends at step {end} of {run.config.optim.last_step}): pre-train the run again"
        )
    if column not in curve:
        return None
    steps = curve["step"].diff().fillna(curve["step"])
    begins = curve["step"] - steps
    at_the_end = begins >= (1 - TAIL) * run.config.optim.last_step
    at_the_end.iloc[-1] = True
    return float((curve[column] * steps)[at_the_end].sum() / steps[at_the_end].sum())


def differing(configs: Sequence[dict[str, Any]], ignore: Iterable[str]) -> str:
    """The fields in which nested configurations differ from the first, by their dotted names."""
    ignored = set(ignore)
    lines = {line for config in configs[1:] for line in differences(configs[0], config).splitlines()}
    return ", ".join(sorted({line.split(":")[0].strip() for line in lines} - ignored))


def _runs(spec: Spec, setting: Setting, folders: Sequence[tuple[RunDir, str]]) -> Iterator[tuple[str, Run]]:
    """The runs of a spec on disk, by their seeds; `folders` as `_folders` gives them."""
    for first, source in folders:
        results_dir = first.results.parents[1]
        here = dataclasses.replace(setting, results_dir=results_dir)
        found = []
        for path in _candidates(first):
            seed = RunDir(results_dir, setting.workdir, setting.scale.name, path.name).config.seed
            run = here.run(spec, seed)
            if run.folder.name == path.name:
                found.append((source, run))
            elif re.fullmatch(r"\d+", path.name.removeprefix(first.name.removesuffix("0"))):
                raise DataError(
                    f"{path / 'config.json'} is of the run {run.folder.name}, its folder is called {path.name}: "
                    "is it a copy? give it its name, or delete it"
                )
        yield from sorted(found, key=lambda entry: entry[1].config.seed)


def _folders(spec: Spec, setting: Setting) -> list[tuple[RunDir, str]]:
    """The folder of seed 0 in each place of results, whether it is there or not, and whose that place is."""
    # Where the published results are remade, both places are one.
    places = {setting.results_dir.resolve(): YOURS, setting.published_dir.resolve(): PUBLISHED}
    name = setting.run(spec, 0).folder.name
    return [
        (dataclasses.replace(setting, results_dir=results_dir).folder(name), source)
        for results_dir, source in places.items()
    ]


def _candidates(first: RunDir) -> Iterable[Path]:
    """Folders whose names differ from that of seed 0 in the seed alone."""
    return (path.parent for path in first.results.parent.glob(f"{first.name.removesuffix('0')}*/config.json"))


def _records(source: str, run: Run, evaluation: str, records: Iterable[EvalRecord]) -> Iterator[dict[str, Any]]:
    """Lines of `Results.records`."""
    optim = run.config.optim
    for record in records:
        if record["seed"] != run.config.seed:
            path = run.folder.eval_path(evaluation)
            raise DataError(f"{path} is of seed {record['seed']}: restore it, or delete it and evaluate again")
        values = (
            source,
            run.spec,
            run.folder.name,
            run.spec.method,
            run.spec.model,
            run.spec.data,
            run.spec.epochs,
            run.config.seed,
            optim.last_step * optim.batch_size,
            optim.last_step,
            evaluation,
            record["metric"],
            record["value"],
            record["n"],
            record.get("short_classes", 0),
            correct_of(record),
        )
        yield dict(zip(COLUMNS, values, strict=True))


def _left_out(found: dict[tuple[str, str], list[Owned]]) -> list[str]:
    """An item for all runs that differ alike, with an item below it for each field."""
    return [
        f"{what} of {_together(names)} was made with other settings:\n"
        + re.sub("^ *", "  - ", literal(different), flags=re.M)
        for (what, different), names in found.items()
    ]


def _mixed(images: dict[str, dict[str, list[Owned]]]) -> list[str]:
    return [
        f"The images of {code(data)} are not the same for all runs:\n"
        + "\n".join(f"  - {fingerprint[:16]}: {_together(names)}" for fingerprint, names in by_fingerprint.items())
        for data, by_fingerprint in images.items()
        if len(by_fingerprint) > 1
    ]


def _together(runs: Sequence[Owned]) -> str:
    """The first run of each source, and how many more."""
    phrases = []
    for source in dict.fromkeys(source for source, _ in runs):
        first, *others = dict.fromkeys(name for owner, name in runs if owner == source)
        phrases.append(f"{source} {first}" + (f" and {len(others)} more" if others else ""))
    return ", ".join(phrases)
