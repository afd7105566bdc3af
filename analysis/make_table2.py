"""Table 2: linear probe after pre-training on uncurated images: `python analysis/make_table2.py [--scale=...]`.

Prints what this repository publishes beside the reader's own results and the paper's values, and writes `table2.md`,
`table2.csv` and `table2.tex` into `results/<scale>/`. Trains nothing.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from analysis.lib import orderings, paper_table, significance
from analysis.lib.command import run
from analysis.lib.documents import Page
from analysis.lib.markup import code
from analysis.lib.orderings import Ordering, Printed
from analysis.lib.paper import OWN, PaperValue, contradictions, paper_values, printed_at
from analysis.lib.paper_table import PaperTable
from analysis.lib.pools import pooled
from analysis.lib.results import PUBLISHED, Results, per_cent, read
from can.commands.methods import preset
from can.commands.scales import MODEL_ROLES
from can.commands.setting import Setting
from can.commands.spec import Spec
from experiments.table2_jft import CITED, NEEDS, PIXELS, RUNS, UNTRAINED

EVAL, METRIC = "linear_probe", "top1"
INSTEAD = {"R50": "vit_b", "R200×2": "vit_l"}  # which model's role stands for the encoder of a quoted row


class Row(NamedTuple):
    """One line of the table: printed in the paper, run here, or both."""

    printed: PaperValue | None
    spec: Spec | None  # None: quoted by the paper, not run here; of other quoted ones, what stands for it here


def what(found: Results) -> str:
    """What the table's numbers are."""
    tested_on = paper_table.tested_on(found, EVAL, METRIC)
    return f"Top-1 accuracy in %, mean ± standard deviation (seeds). {tested_on}".strip()


def introduction(found: Results, setting: Setting, whose: str) -> list[str]:
    """Whose numbers stand where."""
    return [
        what(found),
        f"Paper: on IN-1K, as printed. {whose} Rows with a citation are the paper's quotations, of ResNets. What is "
        f"measured here of them has CAN's encoder, {_instead()}, and is a new measurement. DnC is not run here.",
    ]


def closing(page: Page, found: Results) -> None:
    """Where the paper contradicts itself."""
    page.add("## The paper's own contradictions")
    page.bullets(caveats(ROWS))


def table_rows(values: Sequence[PaperValue]) -> list[Row]:
    """The paper's 17 rows in its order, then an untrained encoder of each size, then the raw pixels."""
    own, cited = (
        {(preset(spec.method).title, spec.model, spec.epochs): spec for spec in specs} for specs in (RUNS, CITED)
    )
    roles = {title: role for role, title in MODEL_ROLES.items()}
    rows = []
    for printed in printed_at(values, "Table 2", "linear_probe_top1"):
        epochs = float(printed.epochs)
        if printed.source == OWN:
            rows.append(Row(printed, own[printed.method, roles[printed.architecture], epochs]))
        else:
            rows.append(Row(printed, cited.get((printed.method, INSTEAD[printed.architecture], epochs))))
    return [*rows, *(Row(None, spec) for spec in (*UNTRAINED, PIXELS))]


def frame(rows: Sequence[Row], found: Results) -> pd.DataFrame:
    """The table, as text."""
    images = paper_table.shared(found, EVAL, METRIC, "images")
    return pd.DataFrame(
        {
            "Method": [_method(row) for row in rows],
            "Encoder": [_encoder(row) for row in rows],
            "Epochs": [_epochs(row) for row in rows],
            "Images seen": [f"{images[row.spec]:,}" if row.spec in images else None for row in rows],
            "Paper": [row.printed.value if row.printed else None for row in rows],
            **paper_table.columns(found, EVAL, METRIC, [row.spec for row in rows]),
        }
    )


def numbers(rows: Sequence[Row], found: Results) -> pd.DataFrame:
    """The table, as numbers."""
    images, steps, tested = (paper_table.shared(found, EVAL, METRIC, column) for column in ("images", "steps", "n"))
    return pd.DataFrame(
        {
            "method": [_method(row) for row in rows],
            "encoder": [_encoder(row) for row in rows],
            "epochs": [_epochs(row) for row in rows],
            "images_seen": [images.get(row.spec) for row in rows],
            "steps": [steps.get(row.spec) for row in rows],
            "test_images": [tested.get(row.spec) for row in rows],
            "paper": [row.printed.value if row.printed else None for row in rows],
            **paper_table.numbers(found, EVAL, METRIC, [row.spec for row in rows]),
        }
    ).convert_dtypes()


def judge(rows: Sequence[Row], found: Results, setting: Setting) -> tuple[list[Ordering], dict[str, pd.DataFrame]]:
    """The claims, and what each source says of them."""
    printed = [Printed(row.spec, row.printed.number) for row in rows if row.printed and row.spec in RUNS]
    claims = orderings.paper_claims(printed)
    claims += orderings.above_untrained(RUNS, UNTRAINED) + orderings.above_pixels(RUNS, PIXELS)
    runs = pooled(setting, found.sources, EVAL)
    judged = {source: orderings.judged(claims, of_source, EVAL, METRIC) for source, of_source in runs.items()}
    return claims, judged


def in_words(verdicts: pd.DataFrame) -> str:
    """How many of the paper's orderings hold, and of the claims that training helps at all."""
    groups = {
        "orderings of the paper": verdicts["paper"].notna(),
        "comparisons with an untrained encoder": verdicts["title"] == "Trained above untrained",
        "comparisons with raw pixels": verdicts["title"] == "Trained above raw pixels",
    }
    return " ".join(significance.in_words(verdicts[group]["verdict"], what) for what, group in groups.items())


def finding(setting: Setting) -> str:
    """What Table 2 says at a scale, in a few sentences of its published numbers."""
    found = read(NEEDS, setting)
    runs = per_cent(found.of(PUBLISHED, EVAL, METRIC))
    if runs.empty:
        return f"Nothing is published at the scale `{setting.scale.name}` yet."
    measured = [spec for spec in RUNS if spec.model == "vit_l" and spec in set(runs["row"])]
    longest = [spec for spec in measured if spec.epochs == max(one.epochs for one in measured)]
    if not longest:
        return f"None of the ViT-L rows is published at the scale `{setting.scale.name}` yet."
    means = paper_table.cells(runs)
    images = paper_table.shared(found, EVAL, METRIC, "images")
    best = ", ".join(f"{preset(spec.method).title} {means[spec]}" for spec in reversed(longest) if spec in means)
    baselines = ", ".join(
        f"{preset(spec.method).title} {means[spec]}" for spec in (UNTRAINED[-1], PIXELS) if spec in means
    )
    _, judged = judge(table_rows(paper_values()), found, setting)
    papers = judged[PUBLISHED][judged[PUBLISHED]["paper"].notna()]
    return (
        f"At `{setting.scale.name}`, after {images[longest[0]]:,} images: {best}; {baselines} (linear probe on "
        f"{code(setting.labelled)}, top-1 in %, mean ± standard deviation, seeds in brackets). "
        f"{significance.in_words(papers['verdict'], 'orderings of the paper')}"
    )


def caveats(rows: Sequence[Row]) -> list[str]:
    """Where the paper contradicts a number of this table."""
    return [
        f"{row.printed.method} {row.printed.architecture} {row.printed.epochs} has {row.printed.value} in "
        f"{row.printed.place} and {other.value} in {other.place}."
        for row in rows
        if row.printed
        for other in contradictions(paper_values(), row.printed)
    ]


def _epochs(row: Row) -> str:
    return row.printed.epochs if row.printed else "0"


def _encoder(row: Row) -> str | None:
    if row.spec == PIXELS:
        return None
    if row.printed:
        return row.printed.architecture
    return MODEL_ROLES[row.spec.model] if row.spec else None


def _method(row: Row) -> str:
    if row.printed is None:
        assert row.spec is not None
        return preset(row.spec.method).title
    return row.printed.method if row.printed.source == OWN else f"{row.printed.method}, {row.printed.source}"


def _instead() -> str:
    """`ViT-B for R50` and so on."""
    return " and ".join(f"{MODEL_ROLES[role]} for {encoder}" for encoder, role in INSTEAD.items())


ROWS = table_rows(paper_values())
TABLE = PaperTable(
    "table2",
    "table2_jft",
    NEEDS,
    "Table 2: linear probe after pre-training on uncurated images",
    what,
    introduction,
    lambda found: frame(ROWS, found),
    lambda found: numbers(ROWS, found),
    lambda found, setting: judge(ROWS, found, setting),
    in_words,
    rules_before=[next(place for place, row in enumerate(ROWS) if row.spec in RUNS), len(ROWS) - len(UNTRAINED) - 1],
    closing=closing,
)
render = TABLE.render


if __name__ == "__main__":
    run(render)
