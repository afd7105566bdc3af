"""How a reader's runs agree with the published ones of the same specs."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import special

from analysis.lib.significance import ERROR_RATE, checked, pooled_sd, summary
from can.errors import DataError

EQUAL, WITHIN, OUTSIDE, UNKNOWN = "equal", "within", "outside", "unknown"


def agreement(mine: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """How runs made again agree with the published table; one line a run of `mine`.

    Columns: `row`, `seed`, `value`, `low`, `high`, `level`. The level is EQUAL if the published run of this seed has
    the same float; else WITHIN or OUTSIDE the 95 % prediction interval of one more run of the row, from its published
    mean and the standard deviation within rows, pooled over the published table. It is UNKNOWN, with pd.NA for the
    interval, if nothing is published of the row, or no published row has two seeds. Test images are the same, so
    their error is not in the interval.

    Raises DataError if the runs are not tables, or a row was tested on different numbers of images.
    """
    rows = {line.row: line for line in summary(published).itertuples()}
    floats = {(run.row, run.seed): run.value for run in published.itertuples()}
    sd, df = pooled_sd(published)
    lines = []
    for run in checked(mine).itertuples():
        low, high, level, row = pd.NA, pd.NA, UNKNOWN, rows.get(run.row)
        if row and row.n != run.n:
            raise DataError(f"{run.row} was tested on {run.n} images, and {row.n} when published: evaluate it again")
        if row and df:
            half = special.stdtrit(df, 1 - ERROR_RATE / 2) * sd * np.sqrt(1 + 1 / row.seeds)
            low, high = row.mean - half, row.mean + half
            level = WITHIN if low <= run.value <= high else OUTSIDE
        if floats.get((run.row, run.seed)) == run.value:
            level = EQUAL
        lines.append((run.row, run.seed, run.value, low, high, level))
    table = pd.DataFrame(lines, columns=["row", "seed", "value", "low", "high", "level"])
    return table.astype({"low": "Float64", "high": "Float64"})
