"""The README's numbers: the main rows beside the paper's, and what its first commands are expected to print."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from analysis import make_figure1
from analysis.lib import paper_table
from analysis.lib.documents import to_markdown
from analysis.lib.paper import OWN, paper_values, printed_at
from analysis.lib.results import PUBLISHED, Results, per_cent, read
from can.commands.methods import preset
from can.commands.scales import SCALES, scale_named
from can.commands.setting import Setting
from can.commands.spec import Need, Spec

EPOCHS = 5000
METHODS = ("can", "simclr", "mae")
MAIN = (*(Spec(method, "vit_l", "jft", EPOCHS) for method in METHODS), Spec("random", "vit_l", "jft", 0))
PIXELS = Spec("pixels", "vit_l", "jft", 0)
SHOWN = ("laptop", "evening", "overnight")
EVAL, METRIC = "linear_probe", "top1"


def main_rows(published: Path) -> str:
    """A line a method: the paper's ViT-L, that of each scale that is published, and the cost of a step."""
    scales = [scale for scale in SHOWN if any((published / scale).glob(f"can-vitl-jft-e{EPOCHS}-s*"))]
    printed = {
        value.method: value.value
        for value in printed_at(paper_values(), "Table 2", "linear_probe_top1")
        if value.source == OWN and value.architecture == "ViT-L" and value.epochs == str(EPOCHS)
    }
    costs = make_figure1.cost_table(Setting(scale_named("laptop")))
    relative = dict(zip(costs["Method"], costs["laptop, CAN = 1"], strict=True))
    rows = [*MAIN, PIXELS]
    titles = [preset(spec.method).title for spec in rows]
    table = pd.DataFrame({"Method": titles, "Paper, ViT-L": [printed.get(title) for title in titles]})
    for scale in scales:
        found = _read(published, scale)
        images = paper_table.shared(found, EVAL, METRIC, "images")[MAIN[0]]
        cells = paper_table.cells(per_cent(found.of(PUBLISHED, EVAL, METRIC)))
        table[f"Here, `{scale}`: {images:,} images"] = [cells.get(spec) for spec in rows]
    table["Cost of a training step"] = [relative.get(title) for title in titles]
    return to_markdown(table)


def quick_start(published: Path) -> str:
    """A line a command: how long its runs took where they were published, and what it prints."""
    laptop = _read(published, "laptop")
    smoke = _read(published, "smoke")
    main = " · ".join(_cell(laptop, spec) for spec in MAIN[: len(METHODS)])
    minutes = sum(_seconds(published, "laptop", spec) for spec in MAIN[: len(METHODS)]) / 2 / 60
    lines = [
        (
            "`bash experiments/table2_jft.sh --scale=smoke --rows=can/vit_l/5000`",
            "seconds, after a minute of set-up",
            _cell(smoke, MAIN[0]),
        ),
        ("`python analysis/make_table2.py`", "seconds", "Table 2 as published, beside the paper's"),
        (
            "`bash experiments/table2_jft.sh --rows=can/vit_l/5000,simclr/vit_l/5000,mae/vit_l/5000`",
            f"{minutes:.0f} minutes of training on two cores",
            main,
        ),
    ]
    return to_markdown(pd.DataFrame(lines, columns=["Command", "Time", "Value to expect (linear probe, top-1 in %)"]))


def _cell(found: Results, spec: Spec) -> str:
    cells = paper_table.cells(per_cent(found.of(PUBLISHED, EVAL, METRIC)))
    return f"{preset(spec.method).title} {cells[spec]}"


def _seconds(published: Path, scale: str, spec: Spec) -> float:
    """Of training the row's first seed, where it was published."""
    folder = Setting(SCALES[scale], published_dir=published).published(spec, 0).results
    return json.loads((folder / "provenance.json").read_text(encoding="utf-8"))["wall_time_s"]


def _read(published: Path, scale: str) -> Results:
    setting = Setting(scale_named(scale), published_dir=published, results_dir=published)
    return read([Need(spec) for spec in (*MAIN, PIXELS)], setting)
