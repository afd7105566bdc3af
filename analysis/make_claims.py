"""The scoreboard: every quantitative claim of the paper, and what was measured of it: `python analysis/make_claims.py`.

Prints what this repository publishes beside the reader's own results, and writes `claims.md`, `claims.csv`,
`claims.tex` and a picture of them into `results/<scale>/`. Trains nothing. The claims are in `analysis/claims/`.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from analysis.claims import CLAIMS
from analysis.lib import captions, drawing, looks, more_seeds
from analysis.lib.claims import Claim, Judged, board, by_number
from analysis.lib.command import run
from analysis.lib.documents import Page
from analysis.lib.measures import ERROR, NATS, PERCENT, POINTS, TIMES, Cost
from analysis.lib.orderings import signed
from analysis.lib.origins import joined
from analysis.lib.pools import PooledRuns
from analysis.lib.results import PUBLISHED, Results, read
from analysis.lib.verdicts import AGREES, DISAGREES, IN_WORDS, NOT_MEASURED
from can.commands.setting import Setting
from experiments.harness.declared import all_needs

NEEDS = all_needs()
RULE = (
    "By the rules of docs/claims.md, which were fixed before the seeds that judge by them were run. Each estimate has "
    "its own 95 % interval, of the seeds' standard deviation, pooled over the rows that the last column names, and of "
    "the finite test set. *agrees* and *disagrees* are decided: after Holm's rule for the twelve primary claims, or "
    "Benjamini and Hochberg's for the others, and at the level that this number of seeds may use of the 5 %. *leans* "
    "is what the interval says by itself. One seed decides nothing. What was seen before the rules were made does not "
    "confirm a claim: the column of fresh seeds has what the others say by themselves."
)
HEADINGS = {"primary": "Primary claims", "secondary": "Secondary claims", "cost": "Costs, which are arithmetic"}
DIGITS = {NATS: 3, ERROR: 4, PERCENT: 0, TIMES: 1}  # points have their sign, too
READ = " (read from the table)"


class Board(NamedTuple):
    """What one source says: on all of its seeds, and on the fresh ones alone. In the order of CLAIMS."""

    every: Sequence[Judged]
    fresh: Sequence[Judged]


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
    page.add(f"{RULE} {plan_in_words(setting)}")
    page.bullets(joined(found.origins), "**Joined, or not by a clean commit:**")
    page.bullets(
        f"{source.capitalize()}: {sentence}"
        for source, of_source in judged.items()
        if (sentence := ahead(of_source, setting))
    )
    table = frame(judged)
    for kind, heading in HEADINGS.items():
        page.add(f"## {heading}")
        caption = f"{page.title.lstrip('# ')}: {heading.lower()}. {' '.join(counts)} {RULE}"
        page.table(_of_kind(table, kind), caption=caption)
    page.bullets(missing(judged, setting), "**Not measured**, with the command that does it:")
    page.write(setting, "claims", numbers(judged))
    if found.sources:
        draw(judged[found.sources[-1]], found.sources[-1], setting)
    return "\n".join(counts) + "\n" if brief else page.text


def judge(found: Results, setting: Setting) -> dict[str, Board]:
    """The board of each source."""
    scale, boards = setting.scale.name, {}
    for source in found.shown:
        seeds = found.records["seed"][found.records["source"] == source].unique()
        seen = sum(not looks.is_fresh(scale, seed) for seed in seeds)
        every = board(CLAIMS, PooledRuns(found, source, setting), looks.planned(scale))
        rest = PooledRuns(found, source, setting, fresh=True)
        fresh = board(CLAIMS, rest, looks.planned(scale, seen)) if seen else every
        boards[source] = Board(every, fresh)
    return boards


def in_words(judged: Board) -> str:
    """Sentences that count what is decided of the primary claims, by all seeds and by fresh ones, and of the others."""
    _, secondary, costs = ([one.direction for one in judged.every if _kind(one.claim) == kind] for kind in HEADINGS)
    first = of_primary(judged)
    return (
        f"{first[0].upper()}{first[1:]} Of the {len(secondary)} secondary claims {_decided(secondary)}; "
        f"{_others(secondary)}. Of the {len(costs)} costs {costs.count(AGREES)} are as printed."
    )


def of_primary(judged: Board) -> str:
    """The sentence that counts the primary claims."""
    primary, fresh = ([one.direction for one in lines if one.claim.primary] for lines in judged)
    return (
        f"of the {len(primary)} primary claims {_decided(primary)} by all seeds, and {_decided(fresh)} by the fresh "
        f"ones alone; by all, {_others(primary)}."
    )


def _decided(directions: Sequence[str]) -> str:
    """`5 are decided (4 agree, 1 disagrees)`."""
    for_it, against = directions.count(AGREES), directions.count(DISAGREES)
    are = "is" if for_it + against == 1 else "are"
    sides = f" ({for_it} {_verb('agree', for_it)}, {against} {_verb('disagree', against)})" if for_it + against else ""
    return f"{for_it + against} {are} decided{sides}"


def _others(directions: Sequence[str]) -> str:
    """Of what is not decided, how often each is said; by all seeds."""
    count = Counter(directions)
    told = [f"{count[one]} {phrases[count[one] > 1]}" for one, phrases in IN_WORDS.items() if count[one]]
    return ", ".join(told) or "none is open"


def _verb(verb: str, count: int) -> str:
    return f"{verb}s" if count == 1 else verb


def plan_in_words(setting: Setting) -> str:
    """At which numbers of seeds the scale is looked at, and what each look may use."""
    plan = looks.planned(setting.scale.name)
    if not plan:
        return "This scale is looked at once."
    levels = ", ".join(f"{seeds} seeds at {looks.nominal(0.05, looks.shares(plan, seeds)):.4f}" for seeds in plan)
    return f"Looks, each at the level that one claim alone would have: {levels}."


def ahead(judged: Board, setting: Setting) -> str:
    """What the planned looks to come would decide, by all seeds."""
    return more_seeds.in_words(judged.every, looks.planned(setting.scale.name))


def finding(setting: Setting) -> str:
    """What the published results say of the primary claims, in one sentence."""
    judged = judge(read(NEEDS, setting), setting).get(PUBLISHED)
    if judged is None:
        return f"Nothing is published at the scale `{setting.scale.name}` yet."
    return f"**At the scale `{setting.scale.name}`, {of_primary(judged)}**"


def frame(judged: Mapping[str, Board]) -> pd.DataFrame:
    """The board, as text: a line a claim, and of each source the estimate, its seeds, the verdicts and the pool."""
    columns: dict[str, list[str | None]] = {
        "#": [f"{claim.primary}" if claim.primary else None for claim in CLAIMS],
        "Place": [claim.place for claim in CLAIMS],
        "Claim": [claim.text + READ * claim.read for claim in CLAIMS],
        "Paper": [_paper(claim) for claim in CLAIMS],
    }
    for source, (every, fresh) in judged.items():
        name = source.capitalize()
        columns[name] = [_estimate(one) for one in every]
        columns[f"{name}: seeds"] = [
            f"{_seeds_of(one)} ({_seeds_of(again)} fresh)" if _seeds_of(one) else None
            for one, again in zip(every, fresh, strict=True)
        ]
        columns[f"{name}: direction"] = [one.direction for one in every]
        columns[f"{name}: fresh seeds"] = [one.direction if _seeds_of(one) else None for one in fresh]
        columns[f"{name}: size"] = [one.size for one in every]
        columns[f"{name}: error from"] = [(one.estimate.pool or None) if one.estimate else None for one in every]
    return pd.DataFrame(columns)


def numbers(judged: Mapping[str, Board]) -> pd.DataFrame:
    """The board, as numbers: a line a claim, source, and choice of seeds."""
    return (
        pd.DataFrame(
            [
                {
                    "source": source,
                    "seeds": seeds,
                    "primary": f"{one.claim.primary}" if one.claim.primary else None,
                    "place": one.claim.place,
                    "claim": one.claim.text,
                    "item": one.claim.item,
                    "unit": one.claim.measure.unit,
                    "paper": one.claim.paper,
                    "estimate": one.estimate and one.estimate.value,
                    "low": one.estimate and one.estimate.low,
                    "high": one.estimate and one.estimate.high,
                    "p": one.estimate and one.estimate.p,
                    "adjusted": one.adjusted,
                    "fewest_seeds": one.estimate and f"{one.estimate.seeds}",
                    "error_from": one.estimate and one.estimate.pool,
                    "sets": one.estimate and one.estimate.note,
                    "direction": one.direction,
                    "size": one.size,
                }
                for source, of_source in judged.items()
                for seeds, lines in zip(("all", "fresh"), of_source, strict=True)
                for one in lines
            ]
        )
        .replace({math.inf: None, -math.inf: None})
        .convert_dtypes()
    )  # numbers, which are rounded when they are written


def missing(judged: Mapping[str, Board], setting: Setting) -> list[str]:
    """An item for each script that would measure claims that nobody has measured."""
    measured = {one.claim for of_source in judged.values() for one in of_source.every if one.direction != NOT_MEASURED}
    items = dict.fromkeys(claim.item for claim in CLAIMS if claim not in measured)
    return [
        f"{sum(claim.item == item and claim not in measured for claim in CLAIMS)} claims: "
        f"{captions.command_line(setting, item, *_seeds(setting))}"
        for item in items
    ]


def draw(judged: Board, source: str, setting: Setting) -> None:
    """The primary claims, each as a line: our estimate with its interval, and the paper's value."""
    shown = list(by_number(judged.every).values())
    measured = [one.estimate for one in shown if one.estimate]
    if not measured:
        return
    figure, (axes,) = drawing.subplots(1, width=7.6, height=0.9 + 0.27 * len(shown))
    ends = [end for one in measured for end in one[:3] if math.isfinite(end)]
    reach = 1.15 * max(map(abs, ends)) or 1.0  # some of the paper's differences are far outside
    for place, one in enumerate(reversed(shown)):
        if one.estimate is None:
            axes.text(0, place, " not measured", color=drawing.GREY, fontsize=drawing.SMALL, va="center")
            continue
        look = drawing.VERDICTS[one.direction]
        low, high = (value if math.isfinite(value) else one.estimate.value for value in one.estimate[1:3])
        axes.plot([low, high], [place, place], color=look.color, linewidth=1.6)
        axes.plot(one.estimate.value, place, look.marker, color=look.color, markersize=6, markerfacecolor=look.face)
        if one.claim.paper is not None:
            outside = one.claim.paper > reach
            at = 0.985 * reach if outside else one.claim.paper
            axes.plot(at, place, ">" if outside else "|", color="black", markersize=4 if outside else 10)
            if outside:
                told = f"{one.claim.paper:+.1f} "
                axes.text(0.97 * reach, place, told, fontsize=drawing.SMALL, ha="right", va="center")
    axes.axvline(0, color="black", linewidth=0.6)
    names = [f"{one.claim.primary} · {one.claim.text}" for one in reversed(shown)]
    axes.set_yticks(range(len(shown)), names, fontsize=7.5)
    axes.set_ylim(-0.7, len(shown) - 0.3)
    axes.set_xlim(-reach, reach)
    axes.set_xlabel("difference in points, 95 % interval of each claim alone")
    for direction in dict.fromkeys(one.direction for one in shown if one.estimate):
        look = drawing.VERDICTS[direction]
        axes.plot(
            [], [], marker=look.marker, label=direction, color=look.color, markerfacecolor=look.face, linestyle="none"
        )
    axes.plot([], [], "|", color="black", markersize=10, linestyle="none", label="the paper's (>: outside)")
    figure.legend(loc="outside upper left", ncols=3)
    caption = "The paper's primary claims: what was measured beside what the paper prints."
    note = "Bars are 95 % intervals of each claim alone, not adjusted. Filled round marks and crosses are decided."
    drawing.save(figure, setting, "claims", numbers({source: judged}), source=source, caption=caption, note=note)


def _kind(claim: Claim) -> str:
    return "primary" if claim.primary else "cost" if isinstance(claim.measure, Cost) else "secondary"


def _of_kind(table: pd.DataFrame, kind: str) -> pd.DataFrame:
    """The lines of one kind, without columns that have nothing there."""
    own = table[[_kind(claim) == kind for claim in CLAIMS]]
    return own.loc[:, own.notna().any()]


def _seeds(setting: Setting) -> list[str]:
    """One seed decides nothing."""
    return [] if setting.scale.name == "smoke" else ["--seeds=0,1,2"]


def _seeds_of(one: Judged) -> int:
    return one.estimate.seeds if one.estimate else 0


def _estimate(one: Judged) -> str | None:
    if one.estimate is None:
        return None
    value, low, high = one.estimate[:3]
    text = f"{_number(one.claim, value)}{_unit(one.claim)}"
    if low != high:
        ends = f"[{_number(one.claim, low)}, {_number(one.claim, high)}]" if math.isfinite(high) else "(one seed)"
        text = f"{text} {ends}"
    return f"{text}, {one.estimate.note}" if one.estimate.note else text


def _paper(claim: Claim) -> str | None:
    return claim.printed or (None if claim.paper is None else f"{_number(claim, claim.paper)}{_unit(claim)}")


def _number(claim: Claim, value: float) -> str:
    unit = claim.measure.unit
    return signed(value) if unit == POINTS else f"{value:.{DIGITS[unit]}f}".replace("-", "−")


def _unit(claim: Claim) -> str:
    return {POINTS: "", PERCENT: " %", TIMES: "×"}.get(claim.measure.unit, f" {claim.measure.unit}")


if __name__ == "__main__":
    run(render)
