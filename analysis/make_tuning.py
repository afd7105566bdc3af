"""Makes the table of tuned learning rates out of `results/tuning/<scale>/`: `python analysis/make_tuning.py`.

Writes `learning_rates.csv` and `.md` there and prints the table beside the published one. `experiments/tune_laptop.sh`
makes the trials.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from pathlib import Path

import pandas as pd
from absl import flags

from analysis.lib.tables import NONE, read_csv, to_csv, to_markdown
from can.errors import DataError
from can.files import write_atomic
from can.runs import RunDir
from can.runs.config_file import read_config
from experiments.harness import cli
from experiments.harness.methods import METHODS

RESULTS = Path(__file__).resolve().parent.parent / "results"


def read_trials(folder: Path) -> pd.DataFrame:
    """A row a finished trial below `folder`, by method and rate; `top1` is in %, of the images `held_out`.

    Raises DataError if a file is damaged.
    """
    trials = []
    for path in folder.glob("*/eval-linear_probe.json"):
        config = read_config(path.parent / "config.json")
        evaluated = RunDir(folder.parent, folder.parent, folder.name, path.parent.name).read_eval("linear_probe")
        top1 = next(record for record in evaluated.records if record["metric"] == "top1")
        trials.append(
            dict(
                method=config.method.name,
                base_lr=config.optim.base_lr,
                batch_size=config.optim.batch_size,
                images=config.optim.total_steps * config.optim.batch_size,  # seen in pre-training
                seed=config.seed,
                held_out=evaluated.protocol["test"],
                top1=round(100 * top1["value"], 4),
            )
        )
    return pd.DataFrame(sorted(trials, key=lambda trial: (list(METHODS).index(trial["method"]), trial["base_lr"])))


def table(trials: pd.DataFrame) -> pd.DataFrame:
    """A row a method, a column a rate, the best of each row in bold."""
    top1 = trials.pivot(index=["method", "images"], columns="base_lr", values="top1").sort_index(
        key=lambda names: names.map(list(METHODS).index) if names.name == "method" else names
    )
    best = top1.max(axis=1)
    cells = {
        f"base_lr {rate:g}": [
            NONE if pd.isna(value) else f"**{value:.1f}**" if value == highest else f"{value:.1f}"
            for value, highest in zip(values, best, strict=True)
        ]
        for rate, values in top1.items()
    }
    titles = [f"{METHODS[method].title}, {images:,} images" for method, images in top1.index]
    return pd.DataFrame({"held-out top-1, %": titles} | cells)


def main() -> None:
    """Remakes the table that the flags name, from the reader's own trials where there are some."""
    scale = flags.FLAGS.scale
    folder = Path(flags.FLAGS.results_dir) / scale
    own = read_trials(folder)
    published = read_csv(RESULTS / "published" / "tuning" / scale / "learning_rates.csv")
    if own.empty and published.empty:
        raise DataError(f"no trials in {folder}, and none published: make them with `bash experiments/tune_laptop.sh`")
    if own.empty:
        print(f"No trials in {folder} yet: `bash experiments/tune_laptop.sh` makes them.\n")
    else:
        markdown = to_markdown(table(own))
        write_atomic(folder / "learning_rates.csv", to_csv(own))
        write_atomic(folder / "learning_rates.md", markdown + "\n")
        print(f"Yours, written to {folder}:\n\n{markdown}\n")
    if not published.empty:
        print(f"Published:\n\n{to_markdown(table(published))}")


if __name__ == "__main__":
    flags.DEFINE_string("scale", "laptop", "whose trials: a folder of --results_dir")
    flags.DEFINE_string("results_dir", str(RESULTS / "tuning"), "where the trials of all scales are")
    cli.run(main)
