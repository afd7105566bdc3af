"""Remakes Table 2 from `results/<scale>/` and the paper's printed values: `python analysis/make_table2.py`.

Writes `table2.md`, `table2.csv` and `table2.tex` into `results/<scale>/` and prints the Markdown. Trains nothing.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from absl import flags

from analysis.lib import setting
from analysis.lib.formats import Table, to_csv, to_latex, to_markdown
from analysis.lib.measurements import ROLES, RowKey, Run, Score, read_runs, score
from analysis.lib.orderings import Entry, above_random, paper_claims, summary
from analysis.lib.paper import OWN, PaperValue, contradictions, paper_values, printed_at
from can.errors import DataError
from can.files import write_atomic
from experiments.harness import cli

RESULTS = Path(__file__).resolve().parent.parent / "results"
NONE = "–"
COLUMNS = {  # heading -> whether it is a number
    "Method": False,
    "Encoder": False,
    "Epochs": True,
    "Paper": True,
    "Ours": True,
    "Seeds": True,
    "Test images": True,
}


class Row(NamedTuple):
    """One line of the table: printed in the paper, run here, or both."""

    printed: PaperValue | None  # None: an untrained encoder, which the paper does not show
    key: RowKey | None  # None: quoted by the paper, not run here
    architecture: str
    runs: Sequence[Run] = ()

    @property
    def method(self) -> str:
        """The method's name, with the paper's citation where the paper quotes it."""
        if self.printed is None:
            return "random init"
        return self.printed.method if self.key else f"{self.printed.method}, {self.printed.source}"

    @property
    def epochs(self) -> str:
        """Epochs as the paper counts them."""
        return self.printed.epochs if self.printed else "0"

    @property
    def score(self) -> Score | None:
        """Top-1 over the seeds, in per cent."""
        return score(self.runs, "top1") if self.runs else None

    @property
    def entry(self) -> Entry:
        """The row, for what can be said about orderings."""
        paper = self.printed.number if self.printed else None
        return Entry(self.method, self.architecture, float(self.epochs), paper, self.score)


def render(results_dir: str | Path, scale: str, *, brief: bool = False) -> str:
    """Writes the three files of Table 2 at a scale and returns the Markdown, or of it the table alone if `brief`.

    Raises DataError if nothing was run at that scale or a file is damaged.
    """
    folder = Path(results_dir) / scale
    if not folder.is_dir():
        there = ", ".join(sorted(path.name for path in Path(results_dir).glob("*/"))) or "none"
        raise DataError(
            f"no results at scale {scale!r} in {results_dir} (scales with results: {there}): "
            f"make them with `bash experiments/table2_jft.sh --scale={scale}`"
        )
    values = paper_values()
    rows = table_rows(values, read_runs(Path(results_dir), scale, "linear_probe"))
    commands = {row.key: _command(row.key, Path(results_dir), scale) for row in rows if row.key and not row.runs}
    table = Table(list(COLUMNS), list(COLUMNS.values()), [_cells(row) for row in rows])
    markdown = _markdown(rows, table, values, commands, scale)
    write_atomic(folder / "table2.md", markdown)
    write_atomic(folder / "table2.csv", _csv(rows, commands))
    write_atomic(folder / "table2.tex", _latex(rows, table, scale))
    return to_markdown(table) if brief else markdown


def table_rows(values: Sequence[PaperValue], runs: dict[RowKey, list[Run]]) -> list[Row]:
    """The paper's 17 rows in its order, then an untrained encoder of each size."""
    rows = []
    for printed in printed_at(values, "Table 2", "linear_probe_top1"):
        if printed.source != OWN:
            rows.append(Row(printed, None, printed.architecture))
            continue
        model, data = ROLES[printed.architecture], ROLES[printed.data]
        key = RowKey(printed.method.lower(), model, data, float(printed.epochs))
        rows.append(Row(printed, key, printed.architecture, tuple(runs.get(key, ()))))
    for architecture in ("ViT-B", "ViT-L"):
        key = RowKey("random", ROLES[architecture], "jft", 0.0)
        rows.append(Row(None, key, architecture, tuple(runs.get(key, ()))))
    return rows


def _cells(row: Row) -> list[str]:
    paper = row.printed.value if row.printed else NONE
    if not row.key:
        measured = ["quoted", NONE, NONE]
    elif row.score:
        measured = [str(row.score), str(row.score.seeds), f"{row.score.n:,}"]
    else:
        measured = [NONE, NONE, NONE]
    return [row.method, row.architecture, row.epochs, paper, *measured]


def _title(scale: str) -> str:
    title = f"linear probe after pre-training on uncurated images, scale `{scale}`"
    return f"{title} ({setting.NOT_A_RESULT})" if scale == "smoke" else title


def _markdown(
    rows: Sequence[Row], table: Table, values: Sequence[PaperValue], commands: dict[RowKey, str], scale: str
) -> str:
    runs = _all_runs(rows)
    paragraphs = [
        f"# Table 2: {_title(scale)}",
        "Top-1 accuracy in %. Paper: on IN-1K, as printed. Ours: mean ± standard deviation over seeds.",
        _bullets(setting.describe(runs)),
        to_markdown(table),
        "Quoted: the paper's citation, not run here. random init: the encoder before any training.",
    ]
    if commands:
        missing = (f"{key}: `{command}`" for key, command in commands.items())
        paragraphs += ["Missing, and the command that makes each:", _bullets(missing)]
    if found := setting.warnings(runs):
        paragraphs += ["**These runs are not comparable:**", _bullets(found)]
    paragraphs += ["## Do the paper's orderings hold here?", *_verdicts(rows, scale)]
    paragraphs += _caveats(rows, values)
    return "\n\n".join(paragraphs) + "\n"


def _verdicts(rows: Sequence[Row], scale: str) -> list[str]:
    """What the measured numbers say, in sentences."""
    trained = [row.entry for row in rows if row.key and row.printed]
    untrained = [row.entry for row in rows if not row.printed]
    claims = paper_claims(trained)
    paragraphs = (
        [f"**{setting.NOT_A_RESULT}**; the sentences below only exercise the code."] if scale == "smoke" else []
    )
    paragraphs += [summary(claims), _bullets(map(str, [*claims, above_random(trained, untrained)]))]
    counts = [entry.score.seeds for entry in trained + untrained if entry.score]
    if 1 in counts:
        paragraphs.append("Rows of one seed have no spread: their small differences cannot be told from chance.")
    if max(counts, default=1) > 1:
        paragraphs.append("Spread: the standard deviation of the difference of two runs, √(s₁² + s₂²).")
    return paragraphs


def _caveats(rows: Sequence[Row], values: Sequence[PaperValue]) -> list[str]:
    """Where the paper contradicts a number of this table."""
    return [
        f"The paper contradicts itself: {row.method} {row.architecture} {row.epochs} has {row.printed.value} in "
        f"{row.printed.place} and {other.value} in {other.place}."
        for row in rows
        if row.printed
        for other in contradictions(values, row.printed)
    ]


def _csv(rows: Sequence[Row], commands: dict[RowKey, str]) -> str:
    records = []
    for row in rows:
        found = row.score
        kind = "quoted" if not row.key else "measured" if found else "missing"
        images = " ".join(str(seen) for seen in dict.fromkeys(run.images for run in row.runs))
        paper = row.printed.value if row.printed else None
        spread = None if found is None or found.sd is None else f"{found.sd:.4f}"
        measured = (f"{found.mean:.4f}", spread, found.seeds, found.n) if found else (None,) * 4
        command = commands.get(row.key) if row.key else None
        records.append((row.method, row.architecture, row.epochs, images, kind, paper, *measured, command))
    columns = ("method", "encoder", "epochs", "images_seen", "kind", "paper_top1")
    return to_csv((*columns, "top1_mean", "top1_sd", "seeds", "test_images", "command"), records)


def _latex(rows: Sequence[Row], table: Table, scale: str) -> str:
    sentences = [f"{_title(scale)}.", "Top-1 in %, mean ± standard deviation over seeds."]
    caption = " ".join(sentences + setting.describe(_all_runs(rows))).replace("`", "")
    first_run_here = next(place for place, row in enumerate(rows) if row.key)
    first_untrained = next(place for place, row in enumerate(rows) if not row.printed)
    return to_latex(
        table,
        caption=caption[0].upper() + caption[1:],
        label="tab:table2",
        rules_before=(first_run_here, first_untrained),
    )


def _command(key: RowKey, results_dir: Path, scale: str) -> str:
    elsewhere = "" if results_dir.resolve() == RESULTS else f" --results_dir={shlex.quote(str(results_dir))}"
    return f"bash experiments/table2_jft.sh --scale={scale} --rows={key}{elsewhere}"


def _all_runs(rows: Iterable[Row]) -> list[Run]:
    return [run for row in rows for run in row.runs]


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def main() -> None:
    """Remakes the table that the flags name."""
    print(render(flags.FLAGS.results_dir, flags.FLAGS.scale), end="")


if __name__ == "__main__":
    flags.DEFINE_string("scale", "laptop", "whose table: a folder of --results_dir")
    flags.DEFINE_string("results_dir", str(RESULTS), "where the results of all scales are")
    cli.run(main)
