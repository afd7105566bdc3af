"""Remakes the table of tuned learning rates from `results/tuning/<scale>/`: `python analysis/make_tuning.py`.

Writes `learning_rates.md` and `learning_rates.csv` there and prints the Markdown. `experiments/tune_laptop.sh` makes
the runs.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from absl import flags

from analysis.lib.formats import Table, to_csv, to_markdown
from can.config import RunConfig
from can.errors import DataError
from can.files import read_json, write_atomic
from can.runs import RunDir
from experiments.harness import cli

RESULTS = Path(__file__).resolve().parent.parent / "results" / "tuning"
TITLES = {"can": "CAN", "simclr": "SimCLR", "mae": "MAE"}


class Trial(NamedTuple):
    """One learning rate of one method."""

    method: str
    base_lr: float
    batch_size: int
    images: int  # seen in pre-training
    seed: int
    held_out: str  # what it was tested on
    top1: float  # %


def render(results_dir: str | Path, scale: str) -> str:
    """Writes both files and returns the Markdown. Raises DataError if there are no trials."""
    folder = Path(results_dir) / scale
    trials = read_trials(folder)
    if not trials:
        raise DataError(f"no trials in {folder}: make them with `bash experiments/tune_laptop.sh`")
    markdown = to_markdown(grid(trials))
    write_atomic(folder / "learning_rates.csv", to_csv(Trial._fields, trials))
    write_atomic(folder / "learning_rates.md", markdown + "\n")
    return markdown


def read_trials(folder: Path) -> list[Trial]:
    """The finished trials below `folder`, by method and rate. Raises DataError if a file is damaged."""
    trials = []
    for path in folder.glob("*/eval-linear_probe.json"):
        config = RunConfig.from_dict(read_json(path.parent / "config.json"))
        evaluated = RunDir(folder.parent, folder.parent, folder.name, path.parent.name).read_eval("linear_probe")
        top1 = next(record for record in evaluated.records if record["metric"] == "top1")
        optim = config.optim
        images = optim.total_steps * optim.batch_size
        test = evaluated.protocol["test"]
        trials.append(
            Trial(config.method.name, optim.base_lr, optim.batch_size, images, config.seed, test, 100 * top1["value"])
        )
    return sorted(trials, key=lambda trial: (list(TITLES).index(trial.method), trial.base_lr))


def grid(trials: Sequence[Trial]) -> Table:
    """A row a method, a column a rate, the best of each row in bold."""
    rates = sorted({trial.base_lr for trial in trials})
    rows = []
    for method in dict.fromkeys(trial.method for trial in trials):
        ours = {trial.base_lr: trial for trial in trials if trial.method == method}
        best = max(trial.top1 for trial in ours.values())
        cells = [f"{ours[rate].top1:.1f}" if rate in ours else "–" for rate in rates]
        cells = ["**" + cell + "**" if cell == f"{best:.1f}" else cell for cell in cells]
        images = next(iter(ours.values())).images
        rows.append([f"{TITLES[method]}, {images:,} images", *cells])
    columns = ["held-out top-1, %", *(f"base_lr {rate:g}" for rate in rates)]
    return Table(columns, [False] + [True] * len(rates), rows)


def main() -> None:
    """Remakes the table that the flags name."""
    print(render(flags.FLAGS.results_dir, flags.FLAGS.scale))


if __name__ == "__main__":
    flags.DEFINE_string("scale", "laptop", "whose trials: a folder of --results_dir")
    flags.DEFINE_string("results_dir", str(RESULTS), "where the trials of all scales are")
    cli.run(main)
