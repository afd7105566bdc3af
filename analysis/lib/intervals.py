"""95 % intervals of the means of rows, for figures. Differences between rows are decided in `statistics.py` alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import special

from analysis.lib.statistics import ERROR_RATE, pooled_sd, summary

IN_WORDS = "every seed a dot, means with 95 % intervals over seeds"


def of_means(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with three columns more: `mean` of their row, and `low` and `high`, between which it is uncertain.

    Student's t with the standard deviation of runs within rows, pooled over `runs`: all that a figure draws. A row of
    one seed has an interval too if another has two; without any, `low` and `high` are NaN. The error of the finite
    test set, which all rows share, is not in it. Raises DataError if the runs are not a table as `statistics.py` says.
    """
    rows = summary(runs).set_index("row").astype({"mean": float})
    sd, df = pooled_sd(runs)
    half = (special.stdtrit(df, 1 - ERROR_RATE / 2) if df else np.nan) * sd / np.sqrt(rows["seeds"])
    of_rows = {"mean": rows["mean"], "low": rows["mean"] - half, "high": rows["mean"] + half}
    return runs.assign(**{name: runs["row"].map(values) for name, values in of_rows.items()})
