"""Figure 1, accuracy against cost and by pre-training set: `python analysis/make_figure1.py [--scale=...]`.

Draws `figure1` (PNG, PDF, and the numbers as CSV) and writes `figure1.md` and `figure1.tex` with what an image costs,
the methods at equal floating-point operations, and the two pre-training sets, into `results/<scale>/`. Trains nothing;
counting the operations takes some seconds.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

from analysis.lib import captions, drawing, orderings, paper_table
from analysis.lib.command import run
from analysis.lib.documents import Page, to_markdown
from analysis.lib.equal_compute import contrasts
from analysis.lib.paper import OWN, paper_values
from analysis.lib.pools import pooled
from analysis.lib.results import Results, per_cent, read
from analysis.lib.significance import Contrast, difference
from can.commands.methods import preset
from can.commands.scales import DATA_ROLES, MODEL_ROLES, SCALES
from can.commands.setting import Setting
from can.commands.spec import Spec, resolve
from can.runs.provenance import without_folder
from experiments.figure1_scaling import BY_DATA, METHODS, MODEL, NEEDS, SCALED, UNTRAINED
from experiments.harness.cost import pretraining_flops

COMMAND = "figure1_scaling"  # of experiments/
EVAL, METRIC = "linear_probe", "top1"
OURS = METHODS[0]
DRAWN = ["method", "data", "epochs", "images", "flops", "seed", "value", "mean", "low", "high"]
Claimed = Mapping[tuple[str, str], Contrast]  # by claim, and where it is looked at


def render(setting: Setting, *, brief: bool = False) -> str:
    """Draws the figure, writes the page and returns it, or of it the costs alone if `brief`.

    Raises DataError if a file of the results is damaged.
    """
    found = read(NEEDS, setting)
    page = Page(captions.title("Figure 1: accuracy against the cost of pre-training, and by pre-training set", setting))
    what = "Linear probe, top-1 accuracy in %, mean ± standard deviation (seeds)."
    page.add(f"{what} {paper_table.tested_on(found, EVAL, METRIC)}".strip())
    page.add(captions.whose(found, setting, COMMAND))
    page.bullets(captions.describe(found, setting))
    paper_table.add_gaps(page, found, NEEDS, setting, COMMAND)
    costs = cost_table(setting)
    page.add("## What an image costs in a training step")
    page.table(
        costs, caption=f"GFLOPs of a training step for each image, {MODEL_ROLES[MODEL]}, counted in its program."
    )
    flops = {run.spec: pretraining_flops(run.config) for _, run in found.runs if run.config.optim.total_steps}
    section(page, found, setting, "At equal floating-point operations", at_equal_flops(flops))
    page.bullets(apart(flops))
    sets = by_data(found)
    page.add("## By pre-training set")
    page.table(sets, caption=f"Linear probe after 800 epochs, by pre-training set. {what}")
    section(page, found, setting, "Which method is better on each set?", on_each_set())
    if found.sources:
        draw(setting, found, flops, costs)
    page.write(setting, "figure1")
    return to_markdown(costs) if brief else page.text


def cost_table(setting: Setting) -> pd.DataFrame:
    """GFLOPs an image of each method: at this scale and at `paper`, and how often CAN's that is."""
    scales = dict.fromkeys((setting.scale.name, "paper"))
    table = pd.DataFrame({"Method": [preset(method).title for method in METHODS]})
    for scale in scales:
        overrides = setting.overrides if scale == setting.scale.name else {}
        costs = pd.Series([_flops_of_image(scale, method, setting, overrides) for method in METHODS])
        table[scale] = [f"{cost / 1e9:.3g}" for cost in costs]
        table[f"{scale}, CAN = 1"] = [f"{cost / costs[0]:.2f}" for cost in costs]
    return table


def at_equal_flops(flops: Mapping[Spec, float]) -> Claimed:
    """CAN above each other method at the cost of each run of both, where the other curve reaches it."""
    by_method = {
        method: {spec: flops[spec] for spec in SCALED if spec.method == method and spec in flops} for method in METHODS
    }
    found: dict[tuple[str, str], Contrast] = {}
    for rival in METHODS[1:]:
        claim = _equal(rival)
        for method, other, sign in ((OURS, rival, 1), (rival, OURS, -1)):
            for spec, weights in contrasts(by_method[method], by_method[other]).items():
                where = f"{preset(method).title}'s {spec.epochs:g} epochs, {_short(flops[spec])}"
                found[claim, where] = {row: sign * weight for row, weight in weights.items()}
    return found


def apart(flops: Mapping[Spec, float]) -> list[str]:
    """The methods whose measured curves do not meet CAN's at any cost, of those that have one."""
    compared = {claim for claim, _ in at_equal_flops(flops)}
    ranges = {method: [flops[spec] for spec in SCALED if spec.method == method and spec in flops] for method in METHODS}
    return [
        f"{preset(rival).title} is not compared with {preset(OURS).title} at equal FLOPs: its runs cost "
        f"{_short(min(ranges[rival]))} to {_short(max(ranges[rival]))}, {preset(OURS).title}'s "
        f"{_short(min(ranges[OURS]))} to {_short(max(ranges[OURS]))}."
        for rival in METHODS[1:]
        if ranges[OURS] and ranges[rival] and _equal(rival) not in compared
    ]


def on_each_set() -> Claimed:
    """CAN above each other method after each set, and by more after the uncurated one."""
    found: dict[tuple[str, str], Contrast] = {}
    for number, rival in enumerate(METHODS[1:], 1):
        pairs = {data: (rows[0], rows[number]) for data, rows in BY_DATA.items()}
        claim = f"{preset(OURS).title} above {preset(rival).title}"
        for data, pair in pairs.items():
            found[claim, DATA_ROLES[data]] = difference(*pair)
        curated, uncurated = (difference(*pairs[data]) for data in ("in1k", "jft"))
        more = {**uncurated, **{row: -weight for row, weight in curated.items()}}
        found[f"{claim} by more", f"{DATA_ROLES['jft']} than {DATA_ROLES['in1k']}"] = more
    return found


def section(page: Page, found: Results, setting: Setting, title: str, claimed: Claimed) -> None:
    """Adds what each source says of claims, under a heading; nothing if nobody has measured them."""
    names = pd.DataFrame(list(claimed), columns=["Claim", "Where"])
    verdicts = {
        source: runs.contrast(EVAL, METRIC, list(claimed.values()))
        for source, runs in pooled(setting, found.sources, EVAL).items()
    }
    table = orderings.with_verdicts(names, verdicts)
    if len(table):
        page.add(f"## {title}")
        page.add(orderings.RULE)
        page.add(to_markdown(table))


def by_data(found: Results) -> pd.DataFrame:
    """The methods after 800 epochs of each pre-training set, with the paper's numbers."""
    rows = [spec for specs in BY_DATA.values() for spec in specs]
    columns: dict[str, list[Any]] = {
        "Pre-trained on": [DATA_ROLES[spec.data] for spec in rows],
        "Method": [preset(spec.method).title for spec in rows],
        "Paper": [_printed(spec) for spec in rows],
    }
    return pd.DataFrame(columns | paper_table.columns(found, EVAL, METRIC, rows))


def draw(setting: Setting, found: Results, flops: Mapping[Spec, float], costs: pd.DataFrame) -> None:
    """Accuracy against cost, what an image costs, and accuracy by pre-training set."""
    source = found.sources[-1]
    runs = drawing.with_intervals(per_cent(found.of(source, EVAL, METRIC)))
    runs = runs.assign(flops=runs["row"].map(flops))
    figure, (scaling, bars, sets) = drawing.subplots(3)
    sets.sharey(scaling)
    for method in METHODS:
        own = runs[runs["row"].isin([spec for spec in SCALED if spec.method == method])]
        drawing.interval(scaling, own, "flops", method, label=True)
    untrained = runs[runs["row"] == UNTRAINED]
    if len(untrained):
        line = drawing.LINES[UNTRAINED.method]
        scaling.axhline(untrained["mean"].iloc[0], color=drawing.GREY, linestyle=line, label="untrained")
    drawing.flops_axis(scaling)
    scaling.set_ylabel("linear probe, top-1 in %")
    roles = f"{MODEL_ROLES[MODEL]}, {DATA_ROLES['jft']}"
    drawing.title(scaling, roles, captions.plays(setting, SCALED[0], length=False))
    _draw_costs(bars, costs)
    for place, rows in enumerate(BY_DATA.values()):
        for index, spec in enumerate(rows):
            own = runs[runs["row"] == spec].assign(at=place + 0.2 * (index - 1))
            drawing.interval(sets, own, "at", spec.method, line=False)
    sets.set_xlim(-0.5, len(BY_DATA) - 0.5)
    played = [setting.run(rows[0], 0).config for rows in BY_DATA.values()]
    names = [
        f"{DATA_ROLES[data]}\n(here {without_folder(config.data.name)})"
        for data, config in zip(BY_DATA, played, strict=True)
    ]
    sets.set_xticks(range(len(BY_DATA)), names, parse_math=False)
    sets.grid(visible=False, axis="x")
    seen = captions.short(played[0].optim.last_step * played[0].optim.batch_size)
    drawing.title(sets, f"{MODEL_ROLES[MODEL]}, 800 epochs", f"here {played[0].model.size}, {seen} images")
    drawing.legend(figure)
    drawn = runs[runs["row"].isin([*SCALED, *(spec for rows in BY_DATA.values() for spec in rows), UNTRAINED])]
    caption = (
        "Figure 1. Linear probe over the operations of pre-training, what an image costs in a training step, and "
        "linear probe by pre-training set."
    )
    drawing.save(figure, setting, "figure1", drawn[DRAWN], source=source, caption=caption, note=drawing.INTERVALS)


def _draw_costs(axes: Axes, costs: pd.DataFrame) -> None:
    """Bars of what an image costs, as multiples of CAN's, by scale."""
    scales = [name.removesuffix(", CAN = 1") for name in costs if name.endswith(", CAN = 1")]
    for index, method in enumerate(METHODS):
        multiples = [costs[f"{scale}, CAN = 1"][index] for scale in scales]
        places = [place + 0.25 * (index - 1) for place in range(len(scales))]
        looks: dict[str, Any] = {
            "color": drawing.COLORS[method],
            "hatch": drawing.HATCHES[method],
            "edgecolor": "white",
        }
        shown = axes.bar(places, [float(one) for one in multiples], 0.22, **looks)
        axes.bar_label(shown, [f"{preset(method).title}\n{one}" for one in multiples], fontsize=drawing.SMALL)
    axes.set_xticks(range(len(scales)), [f"scale {scale}" for scale in scales])
    axes.margins(y=0.25)
    axes.grid(visible=False, axis="x")
    axes.set_ylabel("times CAN's")
    drawing.title(axes, "Cost of an image in a training step", "in multiples of CAN's")


def _flops_of_image(scale: str, method: str, setting: Setting, overrides: Mapping[str, Any]) -> float:
    chosen = setting.scale if scale == setting.scale.name else SCALES[scale]
    config = resolve(chosen, Spec(method, MODEL, "jft", 5000), 0, overrides)
    return pretraining_flops(config) / (config.optim.last_step * config.optim.batch_size)


def _equal(rival: str) -> str:
    return f"{preset(OURS).title} above {preset(rival).title} at equal FLOPs"


def _short(flops: float) -> str:
    """`27.7 TFLOPs`."""
    return EngFormatter("FLOPs", places=1)(flops)


def _printed(spec: Spec) -> str | None:
    """What the tables of the paper have for a run."""
    for value in paper_values():
        subject = (value.source, value.method, value.architecture, value.data, value.epochs, value.metric)
        asked = (OWN, preset(spec.method).title, MODEL_ROLES[spec.model], DATA_ROLES[spec.data], f"{spec.epochs:g}")
        if subject == (*asked, "linear_probe_top1") and value.place.startswith("Table"):
            return value.value
    return None


if __name__ == "__main__":
    run(render)
