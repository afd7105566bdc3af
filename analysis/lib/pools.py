"""The runs that a claim's error is estimated from: the one pool that its rows belong to, whichever page shows it.

A difference has one interval, because it has one pool. Trained rows of one evaluation are in one of two: those of
100 epochs (the ablations: Tables 1 and 4, Figure 7's left panel, Figure 8), and those that are trained longer (Tables 2
and 3, Figures 1, 4, 5, 6 and 7's right panel). What is not trained (raw pixels, an untrained encoder) varies otherwise
and is in a pool only of claims about it. A claim about rows of both lengths has both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.lib import looks, significance
from analysis.lib.results import Results, per_cent, read
from analysis.lib.significance import Contrast
from can.commands.setting import Setting
from can.commands.spec import Need, Spec
from experiments.harness.cost import pretraining_flops
from experiments.harness.declared import all_needs

LOSSES = "final_losses"  # the evaluation whose numbers are no accuracies
ABLATION = 100  # epochs
TUNED = ("finetune", "finetune_scratch")  # one evaluation: all weights are trained on labels
NOTHING = pd.DataFrame(columns=["row", "seed", "value", "n"])
_NO_ROW: Contrast = {"both sides are one run": 0.0}  # a contrast that is not measured


class Pool(NamedTuple):
    """Which trained rows estimate the noise, beside the untrained ones of the claim itself."""

    lengths: frozenset[str]
    untrained: frozenset[Spec]

    @classmethod
    def of(cls, rows: Iterable[Spec]) -> Pool:
        """That of a claim about these rows."""
        rows = list(rows)
        return cls(
            frozenset(_length(row) for row in rows if row.epochs), frozenset(row for row in rows if not row.epochs)
        )

    def holds(self, row: Spec) -> bool:
        """Whether a row is in it."""
        return row in self.untrained or bool(row.epochs and _length(row) in self.lengths)

    def __str__(self) -> str:
        return " and ".join(sorted(self.lengths))


def pooled(setting: Setting, sources: Iterable[str], *evaluations: str) -> dict[str, PooledRuns]:
    """By source, the runs of these evaluations, of all rows that some page shows."""
    asked = {name for evaluation in evaluations for name in (TUNED if evaluation in TUNED else (evaluation,))}
    needs = [Need(need.spec, tuple(name for name in need.evals if name in asked)) for need in all_needs()]
    found = read([need for need in needs if need.evals], setting)
    return {source: PooledRuns(found, source, setting) for source in sources}


class PooledRuns:
    """What one source has of all rows, with the errors of claims about them.

    Specs that are one run at the scale, such as a base and its override by the base's own value, are one row here, so
    that a run does not count twice in a pooled standard deviation.
    """

    def __init__(self, found: Results, source: str, setting: Setting, *, fresh: bool = False) -> None:
        """`found` has every row of every pool; `fresh` keeps the seeds that were run after the rules were made."""
        self._setting = setting
        self._runs = {need.spec: own.run(need.spec, 0) for need, own in setting.for_table(all_needs())}
        self._names = {spec: run.folder.name for spec, run in self._runs.items()}
        records = found.records[found.records["source"] == source]
        if fresh:
            seen = ~records["seed"].map(lambda seed: looks.is_fresh(setting.scale.name, seed)).astype(bool)
            records = records[~seen]
        records = records.assign(eval=records["eval"].replace(dict.fromkeys(TUNED, TUNED[0])))
        self._pooled: dict[tuple[str, Pool], tuple[pd.DataFrame, Any]] = {}  # by metric or sets: runs, covariance
        self._records = {key: of_metric for key, of_metric in records.groupby(["eval", "metric"], sort=False)}

    def contrast(self, evaluation: str, metric: str, claims: Sequence[Contrast]) -> pd.DataFrame:
        """What `significance.contrast` says of claims about specs; of each, the `pool` and its number of rows."""

        def runs() -> pd.DataFrame:
            records = self._records.get((evaluation, metric), NOTHING)
            return records.assign(n=0) if evaluation == LOSSES else per_cent(records)

        return self._decided(f"{evaluation} {metric}", runs, claims)

    def over_sets(self, evaluation: str, pattern: str, claims: Sequence[Contrast]) -> pd.DataFrame:
        """The same of the mean over the test sets, which are the pattern's group."""

        def runs() -> pd.DataFrame:
            sets = [per_cent(self._records[evaluation, metric]) for _, metric in self.sets(evaluation, pattern)]
            return _mean_over(sets) if sets else NOTHING

        return self._decided(f"{evaluation}, mean over {pattern}", runs, claims)

    def sets(self, evaluation: str, pattern: str) -> list[tuple[str, str]]:
        """The names of test sets, and the metrics that match the pattern, whose group is the name."""
        matches = [re.fullmatch(pattern, metric) for of, metric in sorted(self._records) if of == evaluation]
        return [(match[1], match[0]) for match in matches if match]

    def flops(self, spec: Spec) -> float:
        """Floating-point operations of a row's pre-training at this scale."""
        return pretraining_flops(self._runs[spec].config)

    def _decided(self, what: str, runs: Callable[[], pd.DataFrame], claims: Sequence[Contrast]) -> pd.DataFrame:
        if not claims:
            return significance.contrast(NOTHING, [])
        found: dict[int, pd.DataFrame] = {}
        pools = [Pool.of(row for row in claim if isinstance(row, Spec)) for claim in claims]
        for pool in dict.fromkeys(pools):
            places = [place for place, of_claim in enumerate(pools) if of_claim == pool]
            if (what, pool) not in self._pooled:
                everything = runs()
                own = everything[np.array([pool.holds(row) for row in everything["row"]], bool)]
                own = own.assign(row=own["row"].map(self._names)).drop_duplicates(["row", "seed"])
                self._pooled[what, pool] = own, significance.known_covariance(own)
            own, covariance = self._pooled[what, pool]
            table = significance.contrast(own, [self.of_runs(claims[place]) for place in places], covariance)
            table = table.assign(pool=str(pool), pooled=own["row"].nunique())
            found |= {place: table.iloc[[line]] for line, place in enumerate(places)}
        return pd.concat([found[place] for place in range(len(claims))], ignore_index=True)

    def run_of(self, spec: Spec) -> str:
        """The name of a row's first run."""
        return self._names[spec]

    def of_runs(self, claim: Contrast) -> Contrast:
        """A claim about specs as one about their runs."""
        weights: dict[Hashable, float] = {}
        for spec, weight in claim.items():
            assert isinstance(spec, Spec)
            weights[self._names[spec]] = weights.get(self._names[spec], 0.0) + weight
        return {name: weight for name, weight in weights.items() if abs(weight) > 1e-9} or _NO_ROW


def _length(row: Spec) -> str:
    return f"{ABLATION} epochs" if row.epochs == ABLATION else "longer training"


def _mean_over(sets: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The runs that were tested on every set, each with the mean of its accuracies.

    Where it is known of all which images were right, `correct` has the images of all sets behind each other, weighted
    so that their covariances give that of the mean. Otherwise `n` is the number of images of equal error.
    """
    by_set = [of_set.drop_duplicates(["row", "seed"]).set_index(["row", "seed"]) for of_set in sets]
    together = by_set[0].index
    for of_set in by_set[1:]:
        together = together[together.isin(of_set.index)]
    sizes = np.array([of_set.loc[together, "n"].max() if len(together) else 1 for of_set in by_set])
    runs = pd.DataFrame(
        {"value": np.mean([of_set.loc[together, "value"].to_numpy(float) for of_set in by_set], axis=0)},
        index=together,
    )
    known = all(isinstance(one, np.ndarray) for of_set in by_set for one in of_set.loc[together, "correct"])
    if known and len(together):
        weights = sizes.sum() / (len(by_set) * sizes)
        centred = [
            [weight * (one - one.mean()) for one in of_set.loc[together, "correct"]]
            for weight, of_set in zip(weights, by_set, strict=True)
        ]
        runs["correct"] = [
            np.concatenate(parts) + value / 100 for *parts, value in zip(*centred, runs["value"], strict=True)
        ]
    runs["n"] = int(sizes.sum() if known else len(by_set) ** 2 / (1 / sizes).sum())
    return runs.reset_index()
