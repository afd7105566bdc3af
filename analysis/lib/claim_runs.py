"""The runs of one item of the paper, as its claims compare them."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence

import pandas as pd

from analysis.lib import significance
from analysis.lib.results import Results, per_cent
from analysis.lib.significance import Contrast
from can.commands.setting import Setting
from can.commands.spec import Need, Spec
from experiments.harness.declared import declarations

LOSSES = "final_losses"  # the evaluation whose numbers are no accuracies
_NO_ROW: Contrast = {"both sides are one run": 0.0}  # a contrast that is not measured


class ItemRuns:
    """What one source has of an item's runs.

    Specs that are one run at the scale, such as a base and its override by the base's own value, are one row here, so
    that a run does not count twice in a pooled standard deviation.
    """

    def __init__(self, found: Results, source: str, item: str, setting: Setting) -> None:
        needs: Sequence[Need] = declarations()[item] if item else ()
        self._names = {
            need.spec: own.run(need.spec, 0).folder.name for need, own in (setting.for_table(needs) if needs else ())
        }
        records = found.records
        self._records = records[(records["source"] == source) & records["row"].isin(list(self._names))]

    def contrast(self, evaluation: str, metric: str, claims: Sequence[Contrast]) -> pd.DataFrame:
        """What `significance.contrast` says of claims about specs."""
        records = self._records
        of_metric = records[(records["eval"] == evaluation) & (records["metric"] == metric)]
        values = of_metric.assign(n=0) if evaluation == LOSSES else per_cent(of_metric)
        runs = values.assign(row=of_metric["row"].map(self._names))
        return significance.contrast(runs.drop_duplicates(["row", "seed"]), [self._of_runs(claim) for claim in claims])

    def by_set(self, evaluation: str, pattern: str) -> Mapping[str, str]:
        """By the names of test sets, which are the pattern's group, the metrics that match the pattern."""
        metrics = self._records[self._records["eval"] == evaluation]["metric"].unique()
        matches = [re.fullmatch(pattern, metric) for metric in sorted(metrics)]
        return {match[1]: match[0] for match in matches if match}

    def _of_runs(self, claim: Contrast) -> Contrast:
        weights: dict[Hashable, float] = {}
        for spec, weight in claim.items():
            assert isinstance(spec, Spec)
            weights[self._names[spec]] = weights.get(self._names[spec], 0.0) + weight
        return {name: weight for name, weight in weights.items() if abs(weight) > 1e-9} or _NO_ROW
