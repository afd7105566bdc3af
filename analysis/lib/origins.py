"""By which commits, and on which kinds of processor, results were made: said wherever numbers of several are joined."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from analysis.lib.markup import code
from can.commands.spec import Spec
from can.errors import DataError

PRETRAINING = "pre-training"


class Origin(NamedTuple):
    """Who made a run, or one of its evaluations."""

    source: str
    row: Spec
    run: str  # its name
    seed: int
    kind: str  # PRETRAINING, or an evaluation
    commit: str | None  # None: git did not answer
    dirty: bool | None
    processor: str

    @property
    def code(self) -> str:
        """The commit, and whether its sources were changed."""
        if self.commit is None:
            return "sources without a commit"
        return f"commit {code(self.commit[:7])}" + " with changed sources" * bool(self.dirty)


def origin(source: str, row: Spec, run: str, seed: int, kind: str, made: Mapping[str, Any]) -> Origin:
    """What a provenance says; files of an earlier version, or of a test, may lack the machine.

    Raises DataError if it is none.
    """
    try:
        commit, dirty = made["git"]["commit"], made["git"]["dirty"]
        device = made.get("device", {})
        on_cpu = device.get("platform", "cpu") == "cpu"
        processor = made.get("cpu", {}).get("model", "unknown processor") if on_cpu else device["kind"]
        if not all(isinstance(text, str) for text in (commit or "", processor)):
            raise TypeError(commit)
    except (KeyError, TypeError, AttributeError) as error:
        file = "provenance.json" if kind == PRETRAINING else f"eval-{kind}.json"
        raise DataError(f"the provenance in {file} of {run} in the results cannot be read: make it anew") from error
    return Origin(source, row, run, seed, kind, commit, dirty, processor)


def joined(origins: Iterable[Origin]) -> list[str]:
    """An item for each source and kind whose numbers were made by several commits or processors, or by changed sources.

    It names them with how many runs each made, and the rows whose seeds are not all of one.
    """
    items = []
    for (source, kind), found in _groups(origins, "source", "kind").items():
        for what in ("code", "processor"):
            runs: dict[str, dict[str, None]] = {}
            rows: dict[Spec, set[str]] = {}
            for one in found:
                made_by = getattr(one, what)
                runs.setdefault(made_by, {})[one.run] = None
                rows.setdefault(one.row, set()).add(made_by)
            if len(runs) > 1 or any(one.dirty for one in found) and what == "code":
                counts = ", ".join(f"{made_by} ({len(names)} runs)" for made_by, names in runs.items())
                mixed = [f"{row}" for row, made_by in rows.items() if len(made_by) > 1]
                seeds = f"; within a row: {', '.join(dict.fromkeys(mixed))}" if mixed else ""
                items.append(f"{kind} of {source} runs was made by {counts}{seeds}.")
    return items


def _groups(origins: Iterable[Origin], *fields: str) -> dict[tuple[Any, ...], Sequence[Origin]]:
    groups: dict[tuple[Any, ...], list[Origin]] = {}
    for one in dict.fromkeys(origins):
        groups.setdefault(tuple(getattr(one, field) for field in fields), []).append(one)
    return dict(groups)
