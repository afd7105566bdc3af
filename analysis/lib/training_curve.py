"""A run's training curve, `train.csv`, and its end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from can.errors import DataError, first_line
from experiments.harness.setting import Run

TAIL = 0.1  # the share of the steps that counts as the end


def read_curve(path: Path) -> pd.DataFrame:
    """The lines of a `train.csv`, one a step that was logged; none of a run without training.

    Raises DataError if the file is missing or no such log: all its cells are finite numbers, its steps ascend from 1.
    """
    try:
        curve = pd.read_csv(path)
        numbers = curve.to_numpy(np.float64)
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
