"""What lies among the results and is not counted: said, so that no run vanishes from a table without a line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from can.commands.setting import Run
from can.methods import method_class
from can.runs import RunDir

MAIN = {"linear_probe": "top1", "finetune": "top1"}  # by what an evaluation's name begins with: its table's number


def without_config(first: RunDir, source: str) -> list[str]:
    """Runs of a row that do not say what they are, as items of a list; `first` is the folder of its seed 0.

    A folder without results is that of a run that begins.
    """
    start = first.name.removesuffix("0")
    folders = [path for path in first.results.parent.glob(f"{start}*") if path.name.removeprefix(start).isdecimal()]
    items = []
    for path in sorted(folders):
        if not path.exists():
            items.append(f"{source} {path.name} is a link to nothing: mend the link, or remove it")
        elif not (path / "config.json").exists() and any(map(_is_result, path.iterdir())):
            items.append(f"{source} {path.name} has no config.json, which says what it is: restore that file")
    return items


def lost(run: Run, source: str, evals: Iterable[str]) -> list[str]:
    """The evaluations of a run that are links to nothing, as items of a list."""
    paths = [run.folder.eval_path(name) for name in evals]
    return [
        f"{source} {run.folder.name}/{path.name} is a link to nothing: mend the link, or evaluate again"
        for path in paths
        if path.is_symlink() and not path.exists()
    ]


def lacking(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """The evaluations that lack a number which others of their row have, or their table's, as items of a list."""
    found: dict[tuple[Any, str], dict[tuple[str, str], set[str]]] = {}
    for record in records:
        of_row = found.setdefault((record["row"], record["eval"]), {})
        of_row.setdefault((record["source"], record["run"]), set()).add(record["metric"])
    items = []
    for (_, evaluation), runs in found.items():
        expected = set[str]().union(*runs.values())
        expected |= {metric for start, metric in MAIN.items() if evaluation.startswith(start)}
        for (source, name), metrics in runs.items():
            if absent := sorted(expected - metrics):
                items.append(
                    f"{evaluation} of {source} {name} has no {', '.join(absent)}: make it anew with "
                    f"--force={evaluation}"
                )
    return list(dict.fromkeys(items))  # two rows may be one run


class Seeds:
    """The weights of a row's seeds: equal ones are one run that was copied, and count once."""

    def __init__(self) -> None:
        self._first: dict[tuple[str, str], str] = {}

    def copied(self, run: Run, source: str) -> str | None:
        """An item if the run has the weights of another seed that was seen before; None if it has its own."""
        if not (run.folder.pretrained and method_class(run.config.method.name).has_parameters):
            return None
        first = self._first.setdefault((source, run.folder.weights), run.folder.name)
        if first == run.folder.name:
            return None
        return f"{source} {run.folder.name} has the weights of {first}: it is a copy, and is not counted as a seed"


def _is_result(path: Path) -> bool:
    return re.fullmatch(r"eval-.*\.json|provenance\.json|train\.csv", path.name) is not None
