"""Table 4: final losses of CAN, SimCLR and MAE at equal masking: `python analysis/make_table4.py [--scale=...]`.

Prints what this repository publishes beside the reader's own results and the paper's values, and writes `table4.md`,
`table4.csv` and `table4.tex` into `results/<scale>/`. Trains nothing.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

import math

import pandas as pd

from analysis.lib import orderings, paper_table, processors, significance
from analysis.lib.command import run
from analysis.lib.documents import Page
from analysis.lib.orderings import Ordering
from analysis.lib.paper import PaperValue, paper_values, printed_at
from analysis.lib.paper_table import PaperTable
from analysis.lib.pools import pooled
from analysis.lib.results import TAIL, Results, tail_mean
from can.commands.methods import preset
from can.commands.setting import Setting
from can.commands.spec import Spec
from experiments.table4_complementarity import MASK_RATE, NEEDS, RUNS

EVAL = "final_losses"
DIGITS = 4  # of losses, as the paper has
BY_METHOD = {spec.method: spec for spec in RUNS}
LOSSES = {  # by metric: that of `paper_values.csv`, a title, and the method that has no other loss
    "infonce": ("contrastive_loss", "InfoNCE", "simclr"),
    "reconstruct": ("reconstruction_loss", "Reconstruction", "mae"),
    "denoise": (None, "Denoising", None),
}
LINES = [(loss, spec) for loss, (_, _, alone) in LOSSES.items() for spec in RUNS if spec.method in (alone, "can")]
WHAT = "Mean ± standard deviation (seeds); lower is better."
RULE = (
    "Differences of held-out losses with their 95 % intervals; rows are paired by seed, and each loss is a table by "
    "itself. The intervals hold the error of seeds alone: that of the finite test set is not known for losses. The "
    "verdict is that of each difference by itself: what is decided is on the page of claims. One seed decides nothing."
)


def introduction(found: Results, setting: Setting, whose: str) -> list[str]:
    """What the losses are of, and whose numbers stand where."""
    tested = sorted(found.records[found.records["eval"] == EVAL]["n"].unique())
    images = f" on {', '.join(f'{count:,}' for count in tested)} held-out images" if tested else ""
    return [
        f"{WHAT} Held out: the losses{images}, under the same views and masks for all methods. Training: the mean over "
        f"the last {100 * TAIL:.0f} % of the steps, each method under its own views, masks and noise: these do not "
        "compare methods. InfoNCE is in nats, the others are mean squares of normalised pixels.",
        f"Paper: “final training value”. {whose} An InfoNCE that tells nothing is "
        f"ln(2n − 1) for a batch of n images, {chance(setting.scale.batch_size):.3f} here and "
        f"{chance(_papers_batch()):.3f} in the paper: values of different batches cannot be compared.",
        processors.in_words(setting, EVAL, {loss: title for loss, (_, title, _) in LOSSES.items()}),
    ]


def closing(page: Page, found: Results) -> None:
    """What the encoders are worth by linear probe; nothing if nothing is measured."""
    if found.sources:
        page.add("## What these encoders are worth")
        probed = {"Method": [preset(spec.method).title for spec in RUNS]}
        page.table(
            pd.DataFrame(probed | paper_table.columns(found, "linear_probe", "top1", RUNS)),
            caption=f"{page.title.lstrip('# ')}. Linear probe, top-1 in %, mean ± standard deviation (seeds).",
        )


def chance(batch_size: int) -> float:
    """Eq. 1 in nats if all embeddings are alike."""
    return math.log(2 * batch_size - 1)


def numbers(found: Results) -> pd.DataFrame:
    """A line a loss, method and source: the held-out loss and that at the end of training, with the paper's."""
    paper = printed()
    lines = []
    for source in found.shown:
        for loss, spec in LINES:
            value = paper.get((loss, spec))
            line = {"loss": loss, "method": spec.method, "paper": value.number if value else pd.NA, "source": source}
            for where, runs in {
                "held_out": held_out(found, source, loss),
                "training": training(found, source, loss),
            }.items():
                for row in significance.summary(runs[runs["row"] == spec]).itertuples():
                    line |= {f"{where}_{name}": getattr(row, name) for name in ("mean", "sd", "seeds")}
            lines.append(line)
    names = [f"{where}_{name}" for where in ("held_out", "training") for name in ("mean", "sd", "seeds")]
    return pd.DataFrame(lines, columns=["loss", "method", "paper", "source", *names]).convert_dtypes()


def frame(found: Results, made: pd.DataFrame) -> pd.DataFrame:
    """The table, as text."""
    paper = printed()
    columns: dict[str, list[str | None]] = {
        "Loss": [LOSSES[loss][1] for loss, _ in LINES],
        "Method": [preset(spec.method).title for _, spec in LINES],
        "Paper": [paper[line].value if line in paper else None for line in LINES],
    }
    for source in found.shown:
        of_source = made[made["source"] == source]
        for where, name in (("held_out", "held out"), ("training", "training")):
            means = of_source[[f"{where}_mean", f"{where}_sd", f"{where}_seeds"]]
            columns[f"{source.capitalize()}, {name}"] = [
                None if pd.isna(mean) else paper_table.score(mean, sd, seeds, DIGITS)
                for mean, sd, seeds in means.itertuples(index=False)
            ]
    return pd.DataFrame(columns)


def printed() -> dict[tuple[str, Spec], PaperValue]:
    """What the paper prints, by loss and run."""
    titles = {preset(spec.method).title: spec for spec in RUNS}
    return {
        (loss, titles[value.method]): value
        for loss, (metric, _, _) in LOSSES.items()
        if metric
        for value in printed_at(paper_values(), "Table 4", metric)
    }


def held_out(found: Results, source: str, loss: str) -> pd.DataFrame:
    """The runs' losses on held-out images, as `analysis.lib.significance` takes what is no accuracy."""
    return found.of(source, EVAL, loss).assign(n=0)


def training(found: Results, source: str, loss: str) -> pd.DataFrame:
    """The runs' losses at the end of their training, likewise."""
    lines = [(run.spec, run.config.seed, tail_mean(run, loss)) for owner, run in found.runs if owner == source]
    runs = pd.DataFrame(lines, columns=["row", "seed", "value"]).dropna(subset="value")
    return runs.assign(n=0)


def judge(found: Results, setting: Setting) -> tuple[list[Ordering], paper_table.Judged]:
    """Whether CAN's losses are below those of the methods that have one alone; and what each source says of it."""
    paper = printed()
    claims: dict[str, Ordering] = {}
    can = BY_METHOD["can"]
    for loss, (_, name, alone) in LOSSES.items():
        if alone:
            other = BY_METHOD[alone]
            title = f"{preset(can.method).title}'s is below {preset(other.method).title}'s"
            claims[loss] = Ordering(title, name, other, can, paper[loss, other].number - paper[loss, can].number)
    judged = {
        source: pd.concat(
            [orderings.judged([claim], runs, EVAL, loss) for loss, claim in claims.items()], ignore_index=True
        )
        for source, runs in pooled(setting, found.sources, EVAL).items()
    }
    return list(claims.values()), judged


def in_words(verdicts: pd.DataFrame) -> str:
    """How many of the paper's two claims hold."""
    return significance.in_words(verdicts["verdict"], "claims of the paper")


def _papers_batch() -> int:
    sizes = {value.number for value in paper_values() if value.metric == "batch_size" and value.place == "Table 5"}
    (size,) = sizes
    return int(size)


TABLE = PaperTable(
    "table4",
    "table4_complementarity",
    NEEDS,
    f"Table 4: final losses with {100 * MASK_RATE:.0f} % of the patches masked",
    lambda found: WHAT,
    introduction,
    lambda found: frame(found, numbers(found)),
    numbers,
    judge,
    in_words,
    question="Does training together lower each loss?",
    rule=RULE,
    digits=DIGITS,
    closing=closing,
)
render = TABLE.render


if __name__ == "__main__":
    run(render)
