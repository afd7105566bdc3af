"""The end of a run's training curve, `train.csv`."""

from __future__ import annotations

import pandas as pd

from can.errors import DataError
from experiments.harness.setting import Run

TAIL = 0.1  # the share of the steps that counts as the end


def tail_mean(run: Run, column: str) -> float | None:
    """The mean of a column over the last tenth of a run's steps; None if the file has no such column.

    A line holds the mean over the steps since the line before. Those count that lie in the last tenth as a whole, or
    the last line if none does. Raises DataError if the file is missing or empty.
    """
    path = run.folder.results / "train.csv"
    try:
        curve = pd.read_csv(path)
    except (FileNotFoundError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{path} is missing or empty: pre-train the run again") from error
    if column not in curve:
        return None
    steps = curve["step"].diff().fillna(curve["step"])
    begins = curve["step"] - steps
    at_the_end = begins >= (1 - TAIL) * run.config.optim.last_step
    at_the_end.iloc[-1] = True
    return float((curve[column] * steps)[at_the_end].sum() / steps[at_the_end].sum())
