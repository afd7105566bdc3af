"""How far numbers move with the kind of processor: the same runs, made on two of them, with everything else equal.

Sums round otherwise on another kind, and training carries it on. Nothing of it is an error, and no interval over seeds
holds it alone: who makes a published run again on another kind finds such differences.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from analysis.lib.results import PUBLISHED, YOURS, Results
from can.commands.setting import Run, Setting
from can.errors import DataError
from can.system.files import write_atomic

FILE = "processors.csv"  # beside the published results of a scale
COLUMNS = ["run", "eval", "metric", "published", "again", "published_processor", "processor", "commit"]


def processor_of(run: Run) -> str:
    """What the processor that a run was trained on calls itself; nothing if the run does not say."""
    cpu = run.folder.provenance.get("cpu")
    return str(cpu.get("model", "")) if isinstance(cpu, dict) else ""


def named(found: Results) -> list[str]:
    """Whose runs were trained on what, a line a source; none where no run says it."""
    kinds: dict[str, dict[str, None]] = {}
    for source, run in found.runs:
        if name := processor_of(run):
            kinds.setdefault(source, {})[name] = None
    return [f"{source.capitalize()}: {', '.join(kinds[source])}." for source in (PUBLISHED, YOURS) if source in kinds]


def compare(found: Results) -> pd.DataFrame:
    """The numbers of each run that is published and was made again on another kind of processor; with COLUMNS."""
    folders = {(source, run.folder.name): run for source, run in found.runs}
    values = found.records.set_index(["source", "run", "eval", "metric"])["value"]
    lines = []
    for source, name, evaluation, metric in values.index:
        of_published = PUBLISHED, name, evaluation, metric
        if source != YOURS or of_published not in values.index:
            continue
        published, again = folders[PUBLISHED, name], folders[YOURS, name]
        kinds = processor_of(published), processor_of(again)
        if all(kinds) and kinds[0] != kinds[1]:
            commit = again.folder.provenance["git"]["commit"]
            both = values[of_published], values[source, name, evaluation, metric]
            lines.append((name, evaluation, metric, *both, *kinds, commit))
    return pd.DataFrame(lines, columns=COLUMNS)


def publish(found: Results, setting: Setting) -> str:
    """Writes what `compare` finds beside the published results, and says what was written.

    Raises DataError if nothing is to compare, or a run was not made by a clean commit.
    """
    for source, run in found.runs:
        if source == YOURS and run.folder.provenance["git"].get("dirty") is not False:
            raise DataError(f"{run.folder.results} was not made by a clean commit: make it from a fresh clone")
    numbers = compare(found)
    if numbers.empty:
        raise DataError(f"no run in {setting.results_dir} is published and was made on another kind of processor")
    write_atomic(_path(setting), numbers.to_csv(index=False))
    return f"compared {len(numbers)} numbers of {numbers['run'].nunique()} runs by another kind of processor"


def in_words(setting: Setting, evaluation: str, titles: Mapping[str, str]) -> str:
    """How far the metrics with these titles moved, as a sentence; empty if nothing is published of them."""
    path = _path(setting)
    if not path.exists():
        return ""
    numbers = pd.read_csv(path)
    numbers = numbers[(numbers["eval"] == evaluation) & numbers["metric"].isin(titles.keys())]
    if numbers.empty:
        return ""
    moved = (numbers["again"] - numbers["published"]).abs().groupby(numbers["metric"]).max()
    phrases = [f"{title} by up to {moved[metric]:.4f}" for metric, title in titles.items() if metric in moved]
    first = numbers.iloc[0]
    return (
        f"The kind of processor: the same runs ({numbers['run'].nunique()}), made on {first['processor']} instead of "
        f"{first['published_processor']}, move {', '.join(phrases)}."
    )


def _path(setting: Setting) -> Path:
    return setting.published_dir / setting.scale.name / FILE
