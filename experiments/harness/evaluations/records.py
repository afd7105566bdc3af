"""Numbers of an evaluation as the records of its file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from can.runs import EvalRecord, pack_correct
from experiments.harness.setting import Run


def records_of(found: Mapping[str, Any], run: Run, *, prefix: str = "") -> list[EvalRecord]:
    """A record a metric out of what `can.evals` returned: the metrics, `n`, and `correct` of `top1` if it is there."""
    records = []
    for metric in found.keys() - {"n", "correct"}:
        record = EvalRecord(metric=prefix + metric, value=found[metric], n=int(found["n"]), seed=run.config.seed)
        if metric == "top1" and "correct" in found:
            record["correct"] = pack_correct(found["correct"])
        records.append(record)
    return sorted(records, key=lambda record: list(found).index(record["metric"].removeprefix(prefix)))
