"""Remakes the tables of finetuning, few-shot and robustness: `python analysis/make_transfer.py`.

Reads `results/<scale>/`, writes `transfer.md` and `transfer.csv` there and prints the Markdown. Trains nothing.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from absl import flags

from analysis.lib import setting
from analysis.lib.formats import Table, to_csv, to_markdown
from analysis.lib.measurements import ROLES, RowKey, Run, Score, over_seeds, read_runs
from can.errors import DataError
from can.files import write_atomic
from experiments.harness import cli

RESULTS = Path(__file__).resolve().parent.parent / "results"
NONE = "–"
EVALS = ("linear_probe", "finetune", "finetune_scratch", "few_shot", "few_shot_sgd", "robustness")
METHODS = {"mae": "MAE", "simclr": "SimCLR", "can": "CAN", "random": "random init"}
ARCHITECTURES = {role: name for name, role in ROLES.items()}

Rows = dict[RowKey, list[Run]]
Found = dict[str, Rows]  # by evaluation


def render(results_dir: str | Path, scale: str, *, brief: bool = False) -> str:
    """Writes both files and returns the Markdown, or of it the tables alone if `brief`.

    Raises DataError if none of the evaluations was run at that scale or a file is damaged.
    """
    folder = Path(results_dir) / scale
    found = {name: read_runs(Path(results_dir), scale, name) for name in EVALS}
    keys = rows_of(found)
    if not keys:
        raise DataError(
            f"no finetuning, few-shot or robustness at scale {scale!r} in {results_dir}: "
            f"make them with `bash experiments/transfer.sh --scale={scale}`"
        )
    tables = {
        "Linear probe and finetuning, top-1 in %": finetuning_table(found, keys),
        "Few-shot by ridge regression, top-1 in %, mean over the data sets": few_shot_table(found["few_shot"], keys),
        "Few-shot by SGD, top-1 in %, mean over the data sets": few_shot_table(found["few_shot_sgd"], keys),
        "Few-shot by ridge regression with 10 images a class, top-1 in %": few_shot_sets_table(
            found["few_shot"], keys, 10
        ),
        "Robustness of the finetuned model, top-1 in %": robustness_table(found, keys),
    }
    tables = {title: table for title, table in tables.items() if table.rows}
    text = "\n\n".join(f"## {title}\n\n{to_markdown(table)}" for title, table in tables.items())
    used = [run for name in EVALS for key in keys for run in found[name].get(key, ())]
    smoke = f" ({setting.NOT_A_RESULT})" if scale == "smoke" else ""
    head = f"# Transfer of the encoders of Table 2, scale `{scale}`{smoke}\n\nMean ± standard deviation over seeds."
    claims = "\n".join(f"- {sentence}" for sentence in sentences(found, keys))
    markdown = "\n\n".join(part for part in (head, text, "## What they say", claims) if part) + "\n"
    write_atomic(folder / "transfer.md", markdown)
    write_atomic(folder / "transfer.csv", _csv(used))
    return text if brief else markdown


def rows_of(found: Found) -> list[RowKey]:
    """The rows that have more than a linear probe, in the order of METHODS, larger and longer last."""
    keys = {key for name in EVALS if name != "linear_probe" for key in found[name]}
    return sorted(keys, key=lambda key: (list(METHODS).index(key.method), key.model, key.epochs))


def mean_of(runs: Sequence[Run], metrics: Sequence[str]) -> Score | None:
    """The mean of some metrics, over the seeds; None if there are no runs.

    Raises DataError if a run lacks one of the metrics.
    """
    shares, n = [], 0
    for run in runs:
        there = {record["metric"]: record for record in run.records}
        if missing := [metric for metric in metrics if metric not in there]:
            raise DataError(f"the evaluation of {run.key} seed {run.config.seed} lacks {missing[0]}: evaluate it again")
        shares.append(statistics.fmean(there[metric]["value"] for metric in metrics))
        n = sum(there[metric]["n"] for metric in metrics)
    return over_seeds(shares, n) if shares else None


def finetuning_table(found: Found, keys: Sequence[RowKey]) -> Table:
    """Linear probe, finetuned, and the untrained encoder trained from scratch with the same budget."""
    rows = []
    for key in keys:
        probe = mean_of(found["linear_probe"].get(key, ()), ["top1"])
        trained = finetuned(found, key)
        if trained:
            what = "from scratch" if key.method == "random" else "finetuned"
            rows.append([*_head(key), _cell(probe), _cell(trained), what, str(trained.seeds)])
    return _table(["Linear probe", "All weights", "", "Seeds"], rows)


def finetuned(found: Found, key: RowKey) -> Score | None:
    """Top-1 of the last epoch: finetuned, or trained from scratch for an untrained encoder."""
    return mean_of(found["finetune_scratch" if key.method == "random" else "finetune"].get(key, ()), ["top1"])


def few_shot_table(found: Rows, keys: Sequence[RowKey]) -> Table:
    """A column for each number of images a class."""
    shots = sorted({int(_shots(metric)) for metric in _metrics(found) if metric.endswith("shot")})
    sets = _sets(found)
    rows = []
    for key in keys:
        if runs := found.get(key):
            means = (mean_of(runs, [f"{name}/{k}shot" for name in sets]) for k in shots)
            rows.append([*_head(key), *map(_cell, means), str(len(runs))])
    return _table([*(f"{k}-shot" for k in shots), "Seeds"], rows)


def few_shot_sets_table(found: Rows, keys: Sequence[RowKey], shots: int) -> Table:
    """A column for each data set."""
    sets = [name for name in _sets(found) if f"{name}/{shots}shot" in _metrics(found)]
    rows = []
    for key in keys:
        if sets and (runs := found.get(key)):
            rows.append([*_head(key), *(_cell(mean_of(runs, [f"{name}/{shots}shot"])) for name in sets)])
    return _table(sets, rows)


def robustness_table(found: Found, keys: Sequence[RowKey]) -> Table:
    """A column for each test set."""
    sets = [metric.removesuffix("/top1") for metric in _metrics(found["robustness"]) if metric.endswith("/top1")]
    rows = []
    for key in keys:
        if runs := found["robustness"].get(key):
            rows.append([*_head(key), *(_cell(mean_of(runs, [f"{name}/top1"])) for name in sets), str(len(runs))])
    return _table([*sets, "Seeds"], rows)


def sentences(found: Found, keys: Sequence[RowKey]) -> list[str]:
    """Whether finetuning beats the linear probe and training from scratch, computed from the numbers."""
    said = []
    for key in keys:
        trained = finetuned(found, key)
        if key.method == "random" or trained is None:
            continue
        others = {"the linear probe": mean_of(found["linear_probe"].get(key, ()), ["top1"])}
        scratch = next((row for row in keys if row.method == "random" and row.model == key.model), None)
        others["training from scratch"] = finetuned(found, scratch) if scratch else None
        for name, other in others.items():
            if other:
                gap = trained.mean - other.mean
                spread = ((trained.sd or 0) ** 2 + (other.sd or 0) ** 2) ** 0.5
                verdict = "beats" if gap > spread else "is within the spread of" if gap >= -spread else "is below"
                seeds = min(trained.seeds, other.seeds)
                said.append(
                    f"{METHODS[key.method]} {ARCHITECTURES[key.model]}: finetuning {verdict} {name}, {gap:+.1f} points "
                    f"(spread {spread:.1f}, {seeds} seed{'s' if seeds > 1 else ''})."
                )
    return said


def _head(key: RowKey) -> list[str]:
    return [METHODS[key.method], ARCHITECTURES[key.model], f"{key.epochs:g}"]


def _table(columns: Sequence[str], rows: list[list[str]]) -> Table:
    heads = ["Method", "Encoder", "Epochs"]
    return Table([*heads, *columns], [False, False, True, *(bool(column) for column in columns)], rows)


def _cell(mean: Score | None) -> str:
    return NONE if mean is None else str(mean)


def _metrics(rows: Rows) -> list[str]:
    """The metrics of an evaluation, in the order of its records."""
    return list(dict.fromkeys(record["metric"] for runs in rows.values() for run in runs for record in run.records))


def _sets(rows: Rows) -> list[str]:
    """The data sets of an evaluation whose metrics are `set/metric`."""
    return list(dict.fromkeys(metric.rpartition("/")[0] for metric in _metrics(rows)))


def _shots(metric: str) -> str:
    return metric.rpartition("/")[2].removesuffix("shot")


def _csv(runs: Iterable[Run]) -> str:
    columns = ("method", "encoder", "epochs", "seed", "evaluation", "metric", "value", "n")
    rows = []
    for run in runs:
        for record in run.records:
            protocol = record["protocol"]
            name = protocol["name"] if isinstance(protocol, dict) else protocol
            value = f"{record['value']:.6f}"
            rows.append((*_head(run.key), run.config.seed, name, record["metric"], value, record["n"]))
    return to_csv(columns, rows)


def main() -> None:
    """Remakes the tables that the flags name."""
    print(render(flags.FLAGS.results_dir, flags.FLAGS.scale), end="")


if __name__ == "__main__":
    flags.DEFINE_string("scale", "laptop", "whose tables: a folder of --results_dir")
    flags.DEFINE_string("results_dir", str(RESULTS), "where the results of all scales are")
    cli.run(main)
