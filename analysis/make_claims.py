"""The scoreboard: every quantitative claim of the paper, and what was measured of it: `python analysis/make_claims.py`.

Prints what this repository publishes beside the reader's own results, and writes `claims.md`, `claims.csv`,
`claims.tex` and a picture of them into `results/<scale>/`. Trains nothing. The claims are in `analysis/claims/`.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd

from analysis.claims import CLAIMS
from analysis.lib import captions, drawing
from analysis.lib.claim_runs import ItemRuns
from analysis.lib.claims import (
    CONTRADICTED,
    ERROR,
    NATS,
    NOT_MEASURED,
    PERCENT,
    POINTS,
    REPRODUCED,
    SETS,
    TIMES,
    UNDECIDED,
    Claim,
    Judged,
    board,
)
from analysis.lib.command import run
from analysis.lib.documents import Page
from analysis.lib.orderings import signed
from analysis.lib.results import PUBLISHED, Results, read
from can.commands.setting import Setting
from experiments.harness.declared import all_needs

NEEDS = all_needs()
VERDICTS = (REPRODUCED, CONTRADICTED, UNDECIDED, NOT_MEASURED)
RULE = (
    "Each estimate stands with its 95 % interval, by the rule of every table: the seeds' standard deviation pooled "
    "over the table, and the error of the finite test set. A claim of one comparison is decided if it stays so after "
    "Holm's adjustment for all of the board; `decides` is the smallest difference that would have been decided "
    "whatever the other claims are. A count of test sets is judged by its interval: the sets that are decided for the "
    "claim, and those that are not decided against it. One seed decides nothing."
)
DIGITS = {NATS: 3, ERROR: 4, SETS: 0, PERCENT: 0, TIMES: 1}  # points have their sign, too


def render(setting: Setting, *, brief: bool = False) -> str:
    """Writes the files and returns the Markdown, or of it the sentence that counts if `brief`.

    Raises DataError if a file of the results is damaged.
    """
    found = read(NEEDS, setting)
    judged = judge(found, setting)
    page = Page(captions.title("The paper's claims", setting))
    counts = [f"{source.capitalize()}: {in_words(lines)}" for source, lines in judged.items()]
    page.bullets(counts)
    page.add(captions.whose(found, setting, "all"))
    page.bullets(captions.describe(found, setting))
    page.add(RULE)
    table = frame(judged)
    page.table(table, caption=f"{page.title.lstrip('# ')}. {' '.join(counts)} {RULE}")
    page.bullets(missing(judged, setting), "**Not measured**, with the command that does it:")
    page.write(setting, "claims", numbers(judged))
    if found.sources:
        draw(judged[found.sources[-1]], found.sources[-1], setting)
    return "\n".join(counts) + "\n" if brief else page.text


def judge(found: Results, setting: Setting) -> dict[str, list[Judged]]:
    """The board of each source."""

    def judged(source: str) -> list[Judged]:
        runs = {item: ItemRuns(found, source, item, setting) for item in _items()}
        return board(CLAIMS, lambda claim: runs[claim.item])

    return {source: judged(source) for source in found.shown}


def in_words(judged: Sequence[Judged]) -> str:
    """One sentence that counts verdicts."""
    count = Counter(one.verdict for one in judged)
    *parts, last = [f"{count[verdict]} {'is' if count[verdict] == 1 else 'are'} {verdict}" for verdict in VERDICTS]
    return f"Of the paper's {len(judged)} claims {', '.join(parts)} and {last}."


def finding(setting: Setting) -> str:
    """What the published results say of the claims, in two sentences."""
    judged = judge(read(NEEDS, setting), setting).get(PUBLISHED, [])
    sentence = in_words(judged) if judged else "Nothing is published yet."
    return f"**At the scale `{setting.scale.name}`:** {sentence[0].lower()}{sentence[1:]}"


def frame(judged: Mapping[str, Sequence[Judged]]) -> pd.DataFrame:
    """The board, as text: a line a claim, and of each source the estimate, what it decides, and the verdict."""
    columns: dict[str, list[str | None]] = {
        "Place": [claim.place for claim in CLAIMS],
        "Claim": [claim.text for claim in CLAIMS],
        "Paper": [None if claim.paper is None else f"{_number(claim, claim.paper)}{_unit(claim)}" for claim in CLAIMS],
    }
    for source, lines in judged.items():
        columns[source.capitalize()] = [_estimate(one) for one in lines]
        columns[f"{source.capitalize()}: decides"] = [
            None if one.resolves is None or math.isinf(one.resolves) else _number(one.claim, one.resolves).lstrip("+")
            for one in lines
        ]
        columns[f"{source.capitalize()}: verdict"] = [one.verdict for one in lines]
    return pd.DataFrame(columns)


def numbers(judged: Mapping[str, Sequence[Judged]]) -> pd.DataFrame:
    """The board, as numbers: a line a claim and source."""
    return pd.DataFrame(
        [
            {
                "source": source,
                "place": one.claim.place,
                "claim": one.claim.text,
                "item": one.claim.item,
                "unit": one.claim.measure.unit,
                "paper": one.claim.paper,
                "estimate": one.estimate and one.estimate.value,
                "low": one.estimate and one.estimate.low,
                "high": one.estimate and one.estimate.high,
                "p": one.estimate and one.estimate.p,
                "decides": one.resolves,
                "verdict": one.verdict,
            }
            for source, lines in judged.items()
            for one in lines
        ]
    ).replace({math.inf: None, -math.inf: None})


def missing(judged: Mapping[str, Sequence[Judged]], setting: Setting) -> list[str]:
    """An item for each script that would measure claims that nobody has measured."""
    measured = {one.claim for lines in judged.values() for one in lines if one.verdict != NOT_MEASURED}
    items = dict.fromkeys(claim.item for claim in CLAIMS if claim not in measured)
    return [
        f"{sum(claim.item == item and claim not in measured for claim in CLAIMS)} claims: "
        f"{captions.command_line(setting, item, *_seeds(setting))}"
        for item in items
    ]


def draw(judged: Sequence[Judged], source: str, setting: Setting) -> None:
    """Each claim of points as a line: our estimate with its interval, and the paper's value."""
    shown = [one for one in judged if one.estimate is not None and one.claim.measure.unit == POINTS]
    if not shown:
        return
    figure, (axes,) = drawing.subplots(1, width=7.6, height=0.9 + 0.17 * len(shown))
    ends = [end for one in shown if one.estimate for end in one.estimate[:3] if math.isfinite(end)]
    reach = 1.15 * max(map(abs, ends)) or 1.0  # some of the paper's differences are far outside
    for place, one in enumerate(reversed(shown)):
        assert one.estimate is not None
        color = drawing.VERDICTS[one.verdict]
        low, high = (value if math.isfinite(value) else one.estimate.value for value in one.estimate[1:3])
        axes.plot([low, high], [place, place], color=color, linewidth=1.2)
        axes.plot(one.estimate.value, place, drawing.VERDICT_MARKERS[one.verdict], color=color, markersize=4.5)
        if one.claim.paper is not None:
            outside = one.claim.paper > reach
            at = 0.985 * reach if outside else one.claim.paper
            axes.plot(at, place, ">" if outside else "|", color=drawing.GREY, markersize=4 if outside else 8)
    axes.axvline(0, color="black", linewidth=0.6)
    axes.set_yticks(range(len(shown)), [f"{one.claim.text} · {one.claim.place}" for one in reversed(shown)], fontsize=6)
    axes.set_ylim(-0.7, len(shown) - 0.3)
    axes.set_xlim(-reach, reach)
    axes.set_xlabel("difference in points, 95 % interval")
    for verdict in (REPRODUCED, CONTRADICTED, UNDECIDED):
        axes.plot([], [], drawing.VERDICT_MARKERS[verdict], color=drawing.VERDICTS[verdict], label=verdict)
    axes.plot([], [], "|", color=drawing.GREY, markersize=8, label="the paper's (>: outside)")
    figure.legend(loc="outside upper left", ncols=4)
    of_points = f"{len(shown)} of {len(judged)} claims are differences in points, and are drawn."
    caption = "The paper's claims: what was measured beside what the paper prints."
    note = f"{of_points} Bars are 95 % intervals, before Holm's adjustment."
    drawing.save(figure, setting, "claims", numbers({source: judged}), source=source, caption=caption, note=note)


def _items() -> list[str]:
    return list(dict.fromkeys(claim.item for claim in CLAIMS))


def _seeds(setting: Setting) -> list[str]:
    """One seed decides nothing."""
    return [] if setting.scale.name == "smoke" else ["--seeds=0,1,2"]


def _estimate(one: Judged) -> str | None:
    if one.estimate is None:
        return None
    value, low, high, *_ = one.estimate
    text = f"{_number(one.claim, value)}{_unit(one.claim)}"
    if low == high:
        return text
    if math.isinf(high):
        return f"{text} (one seed)"
    return f"{text} [{_number(one.claim, low)}, {_number(one.claim, high)}]"


def _number(claim: Claim, value: float) -> str:
    unit = claim.measure.unit
    return signed(value) if unit == POINTS else f"{value:.{DIGITS[unit]}f}".replace("-", "−")


def _unit(claim: Claim) -> str:
    return {POINTS: "", PERCENT: " %", TIMES: "×", SETS: " sets"}.get(claim.measure.unit, f" {claim.measure.unit}")


if __name__ == "__main__":
    run(render)
