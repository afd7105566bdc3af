"""How a claim is built, with what the paper prints for the rows that it compares (`paper_values.csv`)."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.lib.claims import Claim
from analysis.lib.measures import Difference
from analysis.lib.paper import OWN, PaperValue, paper_values
from analysis.lib.significance import Contrast, average, difference
from can.commands.methods import preset
from can.commands.scales import MODEL_ROLES
from can.commands.spec import Spec
from experiments import table1_denoising

PRINTED = {  # what the evaluations and metrics are called in paper_values.csv
    ("linear_probe", "top1"): "linear_probe_top1",
    ("finetune", "top1"): "finetune_top1",
    ("final_losses", "infonce"): "contrastive_loss",
    ("final_losses", "reconstruct"): "reconstruction_loss",
}


def jft(method: str, model: str, epochs: float) -> Spec:
    """A run of the uncurated role."""
    return Spec(method, model, "jft", epochs)


def in1k(method: str, model: str, epochs: float) -> Spec:
    """A run of the labelled role."""
    return Spec(method, model, "in1k", epochs)


def gain(first: Contrast, second: Contrast) -> Contrast:
    """How much more the first difference is than the second."""
    return {row: 2 * weight for row, weight in average([first, {row: -w for row, w in second.items()}]).items()}


def printed(row: Spec, place: str, metric: str) -> float | None:
    """What the paper prints for a row at a place; its authors' own number where a citation is printed, too."""
    variants = {spec: f"CAN: {name}" for name, spec in table1_denoising.VARIANTS.items()}
    name = variants.get(row, preset(row.method).title) if place == "Table 1" else preset(row.method).title
    epochs = f"{row.epochs:g}"
    if row.method == "random":
        name, epochs = "from scratch", ""
    found = [
        value
        for value in paper_values()
        if (value.place, value.method, value.metric) == (place, name, metric)
        and value.architecture == MODEL_ROLES[row.model]
        and (value.epochs == epochs or not epochs)
    ]
    return _own_first(found).number if found else None


def _printed_on(row: Spec, place: str, metric: str) -> float | None:
    """What `printed` finds, unless the place is of the other pre-training set."""
    sets = {"Table 2": "jft", "Table 3": "in1k", "Sec. 4.1": "jft"}
    return printed(row, place, metric) if sets.get(place, row.data) == row.data else None


def _own_first(values: Sequence[PaperValue]) -> PaperValue:
    return next((value for value in values if value.source == OWN), values[0])


def printed_difference(measure: Difference, *places: str) -> float | None:
    """The contrast of what the paper prints for its rows; None if it prints nothing for one of them.

    `places`: a row's number is that of the first that has one, as Table 2 has rows of one set and Table 3 of the other.
    """
    metric = PRINTED.get((measure.evaluation, measure.metric), "")
    rows: dict[Spec, float | None] = {}
    for row in measure.rows:
        there = [value for place in places if (value := _printed_on(row, place, metric)) is not None]
        rows[row] = there[0] if there else None
    if any(value is None for value in rows.values()):
        return None
    return sum(weight * rows[row] for row, weight in measure.contrast.items())  # type: ignore[operator, index, misc]


def ordering(
    place: str, text: str, item: str, contrast: Contrast, evaluation: str = "linear_probe", *, read: bool = False
) -> Claim:
    """A claim that a contrast of accuracies is positive."""
    measure = Difference(contrast, evaluation)
    return Claim(place, text, item, measure, printed_difference(measure, place), read=read)


def lower(place: str, text: str, item: str, lower: Spec, higher: Spec, metric: str, unit: str) -> Claim:
    """A claim that a loss is lower."""
    measure = Difference(difference(higher, lower), "final_losses", metric, unit)
    return Claim(place, text, item, measure, printed_difference(measure, place))


def number(place: str, metric: str, method: str = "") -> float:
    """A single number of the paper."""
    return next(
        value.number
        for value in paper_values()
        if (value.place, value.metric) == (place, metric) and value.method.startswith(method)
    )


def count(place: str, metric: str) -> int:
    """A whole number of the paper."""
    return int(number(place, metric))


# The abstract of the paper's other version; it does not say after how many epochs.
ABOVE_SIMCLR = number("Abstract, other version", "linear_probe_top1_above_simclr")
