"""Table 3: pre-training on IN-1K, by finetuning and linear probe: `python analysis/make_table3.py [--scale=...]`.

Prints what this repository publishes beside the reader's own results and the paper's values, and writes `table3.md`,
`table3.csv` and `table3.tex` into `results/<scale>/`. Trains nothing.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from typing import NamedTuple

import pandas as pd

from analysis.lib import orderings, paper_table, significance
from analysis.lib.command import run
from analysis.lib.orderings import Ordering, Printed
from analysis.lib.paper import OWN, PaperValue, paper_values, printed_at
from analysis.lib.paper_table import PaperTable
from analysis.lib.pools import pooled
from analysis.lib.results import Results, per_cent
from can.commands.methods import preset
from can.commands.scales import MODEL_ROLES
from can.commands.setting import Setting
from can.commands.spec import Spec
from experiments.table3_in1k import CITED, EXTENDED, NEEDS, TRAINED, UNTRAINED

METRIC = "top1"
SCRATCH = "from scratch"  # the paper's name of the row that nothing was pre-trained for
MEASURES = {  # a title, and the metric of `paper_values.csv`
    "finetune": ("Finetuning", "finetune_top1"),
    "linear_probe": ("Linear probe", "linear_probe_top1"),
}
OTHER_VERSION = "Abstract, other version"
FROM_OTHER_VERSION = Spec("simclr", "vit_b", "in1k", 800)  # the row that the paper's Table 3 has not
MARK = "*"
PRINTED_EPOCHS = {"dino": 1600.0}  # where they are not those of the run that stands for it
# What a quoted linear probe is of, where its source is known to differ from the one that is measured here.
PROTOCOLS = {
    "MoCo-v3": ("a", "of the class token"),
    "CAE": ("a", "of the class token"),
    "DINO": ("b", "of the class token and the mean of the patch tokens; the epochs that are run here are 400"),
    "BEiT": ("c", "measured by Chen et al. (2022)"),
    "SimMIM": ("d", "of the 8th of 12 layers"),
}


class Row(NamedTuple):
    """One line of the table: printed in the paper, run here, or both."""

    method: str
    encoder: str
    epochs: str
    spec: Spec | None  # None: quoted by the paper, not run here
    printed: dict[str, PaperValue]  # by evaluation


def what(found: Results) -> str:
    """What the table's numbers are."""
    tested_on = paper_table.tested_on(found, "linear_probe", METRIC)
    return f"Top-1 accuracy in %, mean ± standard deviation (seeds). {tested_on}".strip()


def introduction(found: Results, setting: Setting, whose: str) -> list[str]:
    """What the rows are, and whose numbers stand where."""
    return [
        what(found),
        f"Paper: on IN-1K, as printed. {whose} Rows with a citation are the paper's "
        "quotations; those on ViT-B are run here, with CAN's encoder and for as many images as its rows of so many "
        "epochs. From scratch nothing is pre-trained, and the probe is of the "
        f"untrained encoder. {MARK} is not in the paper's Table 3: the abstract of its other version puts CAN "
        f"{_above_simclr().value} above SimCLR, and does not say after how many epochs. "
        "CAN with a momentum teacher and with local crops is what Sec. 3.6 expects to help, and has no number for.",
        "Quoted linear probes follow several protocols: "
        + "; ".join(f"({mark}) {what}" for mark, what in dict(PROTOCOLS.values()).items())
        + ". What is measured here is a probe of the mean of the last layer's patch tokens, for all rows.",
    ]


def table_rows() -> list[Row]:
    """The paper's 16 rows in its order, SimCLR on ViT-B before CAN's, and behind these what is added to CAN."""
    specs = {
        (preset(spec.method).title, MODEL_ROLES[spec.model], PRINTED_EPOCHS.get(spec.method, spec.epochs)): spec
        for spec in (*TRAINED, *CITED)
    }
    printed: dict[tuple[str, str, str, str], dict[str, PaperValue]] = {}
    for evaluation, (_, metric) in MEASURES.items():
        for value in printed_at(paper_values(), "Table 3", metric):
            line = value.method, value.source, value.architecture, value.epochs
            printed.setdefault(line, {})[evaluation] = value
    own = {(method, encoder, epochs) for method, source, encoder, epochs in printed if source == OWN}
    rows = []
    for (method, source, encoder, epochs), values in printed.items():
        name = method if source == OWN else f"{method}, {source}"
        # What the paper quotes is run here unless the paper has a row of its own for it.
        runs_it = source == OWN or (method, encoder, epochs) not in own
        spec = specs.get((method, encoder, float(epochs))) if runs_it else None
        rows.append(Row(name, encoder, epochs, UNTRAINED if method == SCRATCH else spec, values))
    first = next(place for place, one in enumerate(rows) if one.spec in TRAINED and one.spec.method == "can")
    behind = next(place for place in range(first, len(rows)) if rows[place].method != rows[first].method)
    return [
        *rows[:first],
        _unprinted(FROM_OTHER_VERSION),
        *rows[first:behind],
        *map(_unprinted, EXTENDED),
        *rows[behind:],
    ]


def _unprinted(spec: Spec) -> Row:
    return Row(preset(spec.method).title, MODEL_ROLES[spec.model], f"{spec.epochs:g}", spec, {})


def frame(rows: list[Row], found: Results) -> pd.DataFrame:
    """The table, as text."""
    columns: dict[str, list[str | None]] = {
        "Method": [row.method for row in rows],
        "Encoder": [row.encoder for row in rows],
        "Epochs": [row.epochs for row in rows],
    }
    for evaluation, (title, _) in MEASURES.items():
        columns[f"{title}: paper"] = [_with_protocol(row, evaluation) for row in rows]
        for source in found.shown:
            cells = paper_table.cells(runs_of(found, source, evaluation))
            columns[f"{title}: {source}"] = [cells.get(row.spec) for row in rows]
    return pd.DataFrame(columns)


def numbers(rows: list[Row], found: Results) -> pd.DataFrame:
    """A line a row, evaluation and source, as numbers."""
    lines = []
    for evaluation in MEASURES:
        for source in found.shown:
            runs = runs_of(found, source, evaluation)
            measured = {line.row: line for line in significance.summary(runs).itertuples()}
            steps = dict(zip(runs["row"], zip(runs["images"], runs["steps"], strict=True), strict=True))
            for row in rows:
                line = measured.get(row.spec)
                images_and_steps = steps.get(row.spec, (pd.NA, pd.NA))
                of_row = (row.method, row.encoder, row.epochs, evaluation, _paper(row, evaluation), source)
                values = (line.mean, line.sd, line.seeds, line.n) if line else (pd.NA,) * 4
                lines.append((*of_row, *images_and_steps, *values))
    columns = ["method", "encoder", "epochs", "evaluation", "paper", "source", "images_seen", "steps"]
    return pd.DataFrame(lines, columns=[*columns, "mean", "sd", "seeds", "test_images"]).convert_dtypes()


def runs_of(found: Results, source: str, evaluation: str) -> pd.DataFrame:
    """A source's top-1 in per cent. Trained from scratch is what finetuning is for the row without pre-training."""
    runs = found.of(source, evaluation, METRIC)
    if evaluation == "finetune":
        runs = pd.concat([runs, found.of(source, "finetune_scratch", METRIC)])
    return per_cent(runs)


def judge(rows: list[Row], found: Results, setting: Setting) -> tuple[list[Ordering], paper_table.Judged]:
    """The paper's orderings, and what training gains at all; and what each source says of them."""
    by_evaluation = {evaluation: _of_evaluation(rows, evaluation) for evaluation in MEASURES}
    judged = {
        source: pd.concat(
            [orderings.judged(claims, runs, evaluation, METRIC) for evaluation, claims in by_evaluation.items()],
            ignore_index=True,
        )
        for source, runs in pooled(setting, found.sources, *MEASURES).items()
    }
    return [claim for claims in by_evaluation.values() for claim in claims], judged


def in_words(verdicts: pd.DataFrame) -> str:
    """How many of the paper's orderings hold, of each evaluation, and of the claims that training helps at all."""
    papers = verdicts["paper"].notna()
    groups = {
        f"orderings of the paper by {title.lower()}": papers & verdicts["where"].str.startswith(f"{title}: ")
        for title, _ in MEASURES.values()
    }
    groups["comparisons with no pre-training that the paper does not print"] = ~papers
    return " ".join(significance.in_words(verdicts[group]["verdict"], what) for what, group in groups.items())


def _of_evaluation(rows: list[Row], evaluation: str) -> list[Ordering]:
    """The claims about one evaluation."""
    values = {row.spec: row.printed[evaluation].number for row in rows if row.spec and evaluation in row.printed}
    trained = {spec: value for spec, value in values.items() if spec in TRAINED}
    claims = orderings.paper_claims([Printed(spec, value) for spec, value in trained.items()])
    if evaluation == "linear_probe":
        simclr = FROM_OTHER_VERSION
        can = next(spec for spec in TRAINED if spec == Spec("can", simclr.model, simclr.data, simclr.epochs))
        title = f"{preset('can').title} above {preset('simclr').title} at equal size and epochs"
        where = f"{MODEL_ROLES[can.model]} {can.epochs:g}{MARK}"
        claims.append(Ordering(title, where, can, simclr, _above_simclr().number))
    untrained = values.get(UNTRAINED)
    for spec in (spec for spec in TRAINED if spec.model == UNTRAINED.model):
        paper = values[spec] - untrained if untrained is not None and spec in values else None
        where = f"{preset(spec.method).title} {MODEL_ROLES[spec.model]} {spec.epochs:g}"
        claims.append(Ordering("Pre-trained above not pre-trained", where, spec, UNTRAINED, paper))
    title = MEASURES[evaluation][0]
    return [claim._replace(where=f"{title}: {claim.where}") for claim in claims]


def _paper(row: Row, evaluation: str) -> str | None:
    """What the paper prints; of the row that its other version has, what follows from that."""
    if evaluation in row.printed:
        return row.printed[evaluation].value
    if row.spec == FROM_OTHER_VERSION and evaluation == "linear_probe":
        (can,) = printed_at(paper_values(), OTHER_VERSION, "linear_probe_top1")
        return f"{can.number - _above_simclr().number:.1f}{MARK}"
    return None


def _with_protocol(row: Row, evaluation: str) -> str | None:
    """What the paper prints, with the mark of the protocol that it follows."""
    value, method = _paper(row, evaluation), row.method.split(",")[0]
    marked = value and evaluation == "linear_probe" and method in PROTOCOLS
    return f"{value} ({PROTOCOLS[method][0]})" if marked else value


def _above_simclr() -> PaperValue:
    (value,) = printed_at(paper_values(), OTHER_VERSION, "linear_probe_top1_above_simclr")
    return value


ROWS = table_rows()
TABLE = PaperTable(
    "table3",
    "table3_in1k",
    NEEDS,
    "Table 3: pre-training on IN-1K",
    what,
    introduction,
    lambda found: frame(ROWS, found),
    lambda found: numbers(ROWS, found),
    lambda found, setting: judge(ROWS, found, setting),
    in_words,
    rules_before=[place for place in range(1, len(ROWS)) if ROWS[place].encoder != ROWS[place - 1].encoder],
)
render = TABLE.render


if __name__ == "__main__":
    run(render)
