"""The one rule by which tables, figures and scoreboards decide whether one row is above another.

A table is a frame with one line a run: `row` (what its runs share, any hashable key), `seed`, `value` (accuracy in per
cent), `n` (test images) and optionally `correct` (an array [n]: how often the run got each test image right, in [0, 1],
the same images in the same order for all runs of the table; None where it is not known). `n` is 0 where the value is no
accuracy but any number, say a loss. A claim is a contrast of rows that should be positive: weights that sum to 0. That
of a pair is 1 for the row that should be above and -1 for the other.

Two errors make a difference uncertain, and its 95 % interval holds both:

- Seeds. The model is value = row + seed + noise, fitted by least squares to the whole table, so that rows are paired by
  seed and the noise has one standard deviation, pooled over the table. Rows that share fewer than two seeds are not
  paired: their means are compared, with the standard deviation of runs within a row, pooled over the table.
- Test images. All runs see the same ones, so more seeds do not reduce this error. `correct` tells it image by image
  (`Design.images`); otherwise it is that of two independent binomial accuracies, which is larger unless the two rows
  err on different images. Of what is no accuracy it is not known, and the interval holds the error of seeds alone.

The interval is ± √(t² · seed variance + z² · image variance), with the quantiles of Student's t and of the normal
distribution. It covers at least 95 % (Banerjee, 1960); the usual approximation (Welch, Satterthwaite) does not if there
are few seeds. p is the level at which the interval ends at 0. The verdict is that of the claim by itself: what is
decided is for the scoreboard to say, which adjusts for all claims (docs/claims.md). A row of one seed decides nothing.
The rate of .05 supposes that the runs of all rows vary alike; it is higher for a row that varies much more than others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy import special
from scipy.optimize import elementwise

from analysis.lib.design import Contrast, Design, design, factorize
from analysis.lib.verdicts import ERROR_RATE, IN_WORDS, OPEN, by_itself
from analysis.lib.verdicts import NOT_MEASURED as MISSING
from can.errors import DataError

ROUNDING = 1e-9  # points that a fit may leave between equal rows
_FARTHEST = 20.0  # standard errors: p is never below 1e-88, so that Student's t of one degree of freedom stays finite

Pair = tuple[Hashable, Hashable]  # the row that should be above, and the other


class Decision(NamedTuple):
    """Claims of tables of one design, each by itself, in points."""

    difference: Float[np.ndarray, "*tables claims"]
    low: Float[np.ndarray, "*tables claims"]
    high: Float[np.ndarray, "*tables claims"]
    p: Float[np.ndarray, "*tables claims"]
    seed_variance: Float[np.ndarray, "*tables claims"]  # of the difference, in points squared
    image_variance: Float[np.ndarray, "*tables claims"]


def compare(runs: pd.DataFrame, pairs: Sequence[Pair]) -> pd.DataFrame:
    """A verdict on each pair, in the order of `pairs`: columns `above`, `below`, and those of `contrast`."""
    found = contrast(runs, [difference(*pair) for pair in pairs])
    sides = {
        name: pd.Series([pair[side] for pair in pairs], dtype=object) for side, name in enumerate(("above", "below"))
    }
    return pd.concat([pd.DataFrame(sides, dtype=object), found], axis=1)


def difference(above: Hashable, below: Hashable) -> Contrast:
    """That of a pair."""
    return {above: 1.0, below: -1.0}


def average(contrasts: Sequence[Contrast]) -> Contrast:
    """The mean of some contrasts, which is known better than each of them."""
    rows = dict.fromkeys(row for one in contrasts for row in one)
    weights = {row: sum(one.get(row, 0.0) for one in contrasts) / len(contrasts) for row in rows}
    return {row: weight for row, weight in weights.items() if weight}


def contrast(
    runs: pd.DataFrame,
    claims: Sequence[Contrast],
    covariance: tuple[np.ndarray | None, np.ndarray | None] | None = None,
) -> pd.DataFrame:
    """A verdict on each claim that a contrast is positive, in the order of `claims`.

    Columns: `difference`, `low`, `high` (points; the 95 % interval of this claim alone), `df`, `p`,
    `seed_variance`, `image_variance`, `seeds` (the fewest of its rows), `paired`, `verdict`. The difference is that of
    the fit, which is not quite that of the rows' means if seeds are missing. A claim about a row of one seed has an
    infinite interval and p = 1. One about a row without runs has pd.NA for its numbers, 0 for its `seeds`.
    `covariance` is `known_covariance(runs)` where it is at hand.

    Raises DataError if the runs are not a table as the module describes.
    """
    runs = checked(runs)
    for row, seed, value, n in zip(runs["row"], runs["seed"], runs["value"], runs["n"], strict=True):
        if n and not 0 <= value <= 100:
            raise DataError(f"{row}, seed {seed}: an accuracy in per cent is from 0 to 100, not {value}")
    rows = {line.row: line for line in summary(runs).itertuples()}
    lines: list[dict[str, Any]] = []
    for claim in claims:
        line: dict[str, Any] = dict(claim=claim, seeds=0, paired=False, verdict=MISSING)
        if all(row in rows for row in claim):
            estimate = sum(weight * rows[row].mean for row, weight in claim.items())
            line |= dict(difference=estimate, low=-np.inf, high=np.inf, df=0, p=1)
            line |= dict(seed_variance=np.inf, image_variance=np.inf)
            line |= dict(seeds=min(rows[row].seeds for row in claim), verdict=OPEN)
        lines.append(line)
    tested = [line for line in lines if line["seeds"] >= 2]
    if tested:
        plan = design(list(runs["row"]), list(runs["seed"]), [line["claim"] for line in tested])
        found = decide(
            plan, runs["value"].to_numpy(float), runs["n"].to_numpy(int), *(covariance or known_covariance(runs))
        )
        for i, line in enumerate(tested):
            line |= {name: values[i] for name, values in found._asdict().items()}
            line |= dict(df=plan.df[i], paired=plan.paired[i])
            line["verdict"] = by_itself(line["difference"], line["p"], _within(line) if runs["n"].any() else None)
    numbers = dict.fromkeys(("difference", "low", "high"), "Float64") | {"df": "Int64"}
    numbers |= dict.fromkeys(("p", "seed_variance", "image_variance"), "Float64")
    numbers |= {"seeds": "int64", "paired": "bool"}
    return pd.DataFrame(lines, columns=[*numbers, "verdict"], dtype=object).astype(numbers)


def decide(
    plan: Design,
    values: Float[np.ndarray, "*tables runs"],
    n: Int[np.ndarray, " runs"],
    covariance: Float[np.ndarray, "*tables runs runs"] | None = None,
    known: Bool[np.ndarray, " runs"] | None = None,
) -> Decision:
    """The claims of one table, or of many of the same design at once.

    `values` are in per cent. `covariance` is `image_covariance` of the runs of which `known` says that it is known;
    None is all of them.
    """
    difference, seed_variance, image_variance = estimate(plan, values, n, covariance, known)
    p = p_value(difference, seed_variance, image_variance, plan.df)
    half = half_width(ERROR_RATE, seed_variance, image_variance, plan.df)
    return Decision(difference, difference - half, difference + half, p, seed_variance, image_variance)


def estimate(
    plan: Design,
    values: Float[np.ndarray, "*tables runs"],
    n: Int[np.ndarray, " runs"],
    covariance: Float[np.ndarray, "*tables runs runs"] | None = None,
    known: Bool[np.ndarray, " runs"] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The differences, in points, with their variances over seeds and over test images, as `decide` takes its table."""
    difference = values @ plan.weights.T
    squares = np.stack([((values @ projection) ** 2).sum(-1) for projection in plan.noise], -1)  # [..., 2]
    seed_variance = squares[..., plan.paired.astype(int)] / plan.residuals * (plan.weights**2).sum(-1)

    shares = values / 100 @ plan.means.T  # [..., rows]
    sizes = plan.means @ n  # [rows]; 0 for what is no accuracy
    image_variance = (shares * (1 - shares) / np.maximum(sizes, 1)) @ (plan.contrasts**2).T
    if covariance is not None:
        by_image = np.maximum(np.einsum("...rq,crq->...c", covariance, plan.images), 0)
        unknown = np.zeros(len(n), bool) if known is None else ~known
        complete = ~((plan.contrasts != 0) @ (plan.means[:, unknown] > 0).any(-1))
        image_variance = np.where(complete, by_image, image_variance)
    # A test set resolves no less than one image, even if every run gets every image right.
    fewest = np.where(plan.contrasts != 0, sizes, np.inf).min(-1)  # [claims]
    resolved = 1e4 * (image_variance + 1 / np.maximum(fewest, 1) ** 2)
    return difference, seed_variance, np.where(fewest > 0, resolved, np.finfo(float).tiny)


def image_covariance(
    correct: Float[np.ndarray, "*tables runs images"] | Bool[np.ndarray, "*tables runs images"],
) -> Float[np.ndarray, "*tables runs runs"]:
    """How the accuracies of runs, as shares, would vary together over test sets of so many images."""
    images = correct.shape[-1]
    hits = correct.astype(np.float32)  # whole numbers below 2^24 are exact
    accuracy = hits.mean(-1, dtype=float)
    together = (hits @ np.swapaxes(hits, -1, -2)).astype(float) / images
    return (together - accuracy[..., :, None] * accuracy[..., None, :]) / images


def known_covariance(runs: pd.DataFrame) -> tuple[np.ndarray | None, np.ndarray | None]:
    """`image_covariance` of a table's runs, and of which it is known; None without any."""
    correct, known = _correct(runs)
    return (None if correct is None else image_covariance(correct)), known


def _within(line: Mapping[str, Any]) -> tuple[float, float]:
    """The 90 % interval of a difference."""
    half = half_width(2 * ERROR_RATE, line["seed_variance"], line["image_variance"], line["df"])
    return line["difference"] - half, line["difference"] + half


def half_width(level: float, seed_variance: Any, image_variance: Any, df: Any) -> Any:
    """Of the intervals that hold differences with the probability 1 - `level`, in points; of arrays or of numbers."""
    return np.sqrt(_half_width_squared(-special.ndtri(level / 2), seed_variance, image_variance, df))


def summary(runs: pd.DataFrame) -> pd.DataFrame:
    """One line a row, in the order of `runs`: `row`, `mean`, `sd` (over seeds; pd.NA for one), `seeds` and `n`.

    Raises DataError if the runs are not a table.
    """
    runs = checked(runs)
    at, names = factorize(runs["row"])
    rows = runs.groupby(at)
    table = pd.DataFrame({"row": pd.Series(names, dtype=object)})
    table["mean"] = rows["value"].mean().astype("Float64")
    table["sd"] = rows["value"].std().astype("Float64")
    return table.assign(seeds=rows["seed"].size(), n=rows["n"].first())


def in_words(verdicts: Iterable[str], what: str = "orderings") -> str:
    """One sentence that counts verdicts: "Of the 16 orderings, 6 lean to the paper, 4 lean against it, …"."""
    count = Counter(verdicts)
    *parts, last = [f"{count[verdict]} {phrases[count[verdict] != 1]}" for verdict, phrases in IN_WORDS.items()]
    return f"Of the {count.total()} {what}, {', '.join(parts)} and {last}."


def pooled_sd(runs: pd.DataFrame) -> tuple[float, int]:
    """Standard deviation of the runs within rows, in points, pooled over the table, and its degrees of freedom.

    Both are 0 if no row has two seeds. Raises DataError if the runs are not a table.
    """
    rows = summary(runs)
    df = int((rows["seeds"] - 1).sum())
    squares = (rows["sd"] ** 2 * (rows["seeds"] - 1)).sum()  # without rows of one seed
    return (float(np.sqrt(squares / df)), df) if df else (0.0, 0)


def _half_width_squared(
    z: np.ndarray, seed_variance: np.ndarray, image_variance: np.ndarray, df: np.ndarray
) -> np.ndarray:
    """Of the interval whose level is that of ± z of a normal distribution; Banerjee (1960)."""
    t = -special.stdtrit(df, special.ndtr(-z))  # of the same level
    return t**2 * seed_variance + z**2 * image_variance


def p_value(
    difference: np.ndarray, seed_variance: np.ndarray, image_variance: np.ndarray, df: np.ndarray
) -> np.ndarray:
    """Of differences: the level at which the interval ends at 0."""
    # Student's t is never below the normal quantile, so that this z is never too small.
    enough = np.minimum(np.abs(difference) / np.sqrt(seed_variance + image_variance) * (1 + 1e-6) + 1e-9, _FARTHEST)
    solved = elementwise.find_root(
        lambda z, *pieces: _half_width_squared(z, *pieces[1:]) - pieces[0] ** 2,
        (np.zeros_like(enough), enough),
        args=(difference, seed_variance, image_variance, np.broadcast_to(df, enough.shape).astype(float)),
    )
    return 2 * special.ndtr(-np.where(solved.success, solved.x, _FARTHEST))


def _correct(runs: pd.DataFrame) -> tuple[np.ndarray | None, np.ndarray | None]:
    """`correct` as an array [runs, images], and for which runs it is known; None without any."""
    if "correct" not in runs:
        return None, None
    given = {
        place: np.asarray(one, np.float32) for place, one in enumerate(runs["correct"]) if isinstance(one, np.ndarray)
    }
    if not given:
        return None, None
    correct = np.zeros((len(runs), max(one.size for one in given.values())), np.float32)
    for place, one in given.items():
        run = runs.iloc[place]
        if not one.size == run["n"] == correct.shape[1]:
            raise DataError(
                f"{run['row']}, seed {run['seed']}: `correct` has {one.size} images, n is {run['n']}, and the longest "
                f"`correct` of the table has {correct.shape[1]}"
            )
        if not np.isclose(100 * one.mean(dtype=float), run["value"], atol=1e-6):
            raise DataError(
                f"{run['row']}, seed {run['seed']}: the value is {run['value']}, but {100 * one.mean()} % of `correct`"
            )
        correct[place] = one
    return correct, np.isin(np.arange(len(runs)), list(given))


def checked(runs: pd.DataFrame) -> pd.DataFrame:
    """`runs`; raises DataError unless they are a table as the module describes, of whatever values."""
    sizes: dict[Hashable, int] = {}
    seen = set()
    for row, seed, n in zip(runs["row"], runs["seed"], runs["n"], strict=True):
        if (row, seed) in seen:
            raise DataError(f"{row} has two results of seed {seed}")
        if sizes.setdefault(row, n) != n:
            raise DataError(f"the seeds of {row} were tested on {sizes[row]} and on {n} images")
        seen.add((row, seed))
    return runs
