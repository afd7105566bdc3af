"""Numbers of an evaluation as the records of its file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from can.commands.setting import Run
from can.runs import EvalRecord, pack_correct


def records_of(found: Mapping[str, Any], run: Run, *, prefix: str = "") -> list[EvalRecord]:
    """A record a metric out of what `can.evals` returned: the metrics, `n`, and what else of a record is there.

    `correct` is that of `top1`, or of several metrics by their names; `short_classes` is by their names.
    """
    correct = found.get("correct", {})
    by_metric = correct if isinstance(correct, Mapping) else {"top1": correct}
    records = []
    for metric in found.keys() - {"n", "correct", "short_classes"}:
        record = EvalRecord(metric=prefix + metric, value=found[metric], n=int(found["n"]), seed=run.config.seed)
        if metric in by_metric:
            record["correct"] = pack_correct(by_metric[metric])
            if by_metric[metric].ndim == 2:
                record["choices"] = len(by_metric[metric])
        if metric in found.get("short_classes", {}):
            record["short_classes"] = found["short_classes"][metric]
        records.append(record)
    return sorted(records, key=lambda record: list(found).index(record["metric"].removeprefix(prefix)))
