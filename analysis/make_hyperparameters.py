"""Tables 5-10: the paper's hyper-parameters beside those of every scale: `python analysis/make_hyperparameters.py`.

Resolves the presets of `can/commands/` as runs do, and compares each value that the paper prints. Writes
`hyperparameters.md`, `.csv` and `.tex` into `results/` and prints the page. Trains nothing.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd

from analysis.lib.command import run_pages
from analysis.lib.documents import Page
from analysis.lib.paper import PaperValue, paper_values
from can.commands.methods import METHODS
from can.commands.scales import DATA_ROLES, MODEL_ROLES, SCALES, Scale
from can.commands.spec import Spec, resolve
from can.config import RunConfig
from can.evals.linear_probe import BATCH_NORM_MOMENTUM
from experiments.harness.declared import all_needs

PLACES = tuple(f"Table {number}" for number in range(5, 11))
OTHER_SCALES = ("gpu", "overnight", "evening", "laptop")
NONE = "none"  # what has no such step
MARK = "*"
AUGMENTATION = ("color_strength", "gray_prob", "blur_prob")
FINETUNE, PROBE = "finetune_", "linear_probe_"  # how the metrics of Tables 9 and 10 start
FIELDS = {"random_erase_prob": "erase_prob"}  # of our configurations, where it is not the metric's name
WHY = {  # settings differ; docs/paper.md says more
    (
        "warmup_epochs",
    ): "40 epochs are printed for all runs. Ours take a twentieth of the run where that is less, as it "
    "is for 100 epochs.",
    AUGMENTATION: "Tables 7 and 8 print SimCLR's augmentation for MAE. The text says that MAE's settings are those of "
    "He et al., who crop and flip: ours are theirs.",
}


class Compared(NamedTuple):
    """A value that the paper prints, and what stands for it here at the scale `paper`: one value, or several."""

    printed: PaperValue
    ours: tuple[Any, ...]

    @property
    def differs(self) -> bool:
        """Whether some run has another value than the one printed."""
        return any(value != self.printed.number for value in self.ours)


def compare() -> list[Compared]:
    """Each value of Tables 5-10, in the paper's order."""
    values = [value for value in paper_values() if value.place in PLACES]
    return [Compared(value, at_scale(value, SCALES["paper"])) for value in values]


def at_scale(printed: PaperValue, scale: Scale) -> tuple[Any, ...]:
    """The distinct values of a scale that stand for a printed one; NONE for a step that is not made.

    Those of pre-training are of all runs that some table or figure declares of the methods, models and data that the
    printed value is for.
    """
    for prefix, config in ((FINETUNE, scale.finetune), (PROBE, scale.linear_probe)):
        if printed.metric.startswith(prefix):
            name = printed.metric.removeprefix(prefix)
            if (prefix, name) == (PROBE, "batch_norm_momentum"):
                return (BATCH_NORM_MOMENTUM,)
            # A protocol without a field, as the probe without label smoothing, has none of it.
            return (getattr(config, FIELDS.get(name, name), 0),)
    found = [_of_run(resolve(scale, spec, seed=0), printed.metric) for spec in _specs(printed)]
    return tuple(dict.fromkeys(found))


def pages() -> dict[str, str]:
    """The texts of `hyperparameters.md`, `.csv` and `.tex`, by name."""
    compared = compare()
    page = Page("# Hyper-parameters: Tables 5-10")
    page.add(
        "What the paper prints, and what runs take here: the presets of `can/commands/methods.py` and "
        "`scales.py`, and the defaults of `can/config.py`, resolved as for the runs that tables and figures declare."
    )
    page.add("## At the scale `paper`")
    differing = [one for one in compared if one.differs]
    page.add(
        f"Of the {len(compared)} values, {len(compared) - len(differing)} are as printed and {len(differing)} are not; "
        f"these are marked with {MARK}."
    )
    page.bullets(f"{', '.join(f'`{name}`' for name in names)}: {why}" for names, why in WHY.items())
    caption = "Hyper-parameters that the paper prints, and those of the scale paper."
    page.table(_papers_table(compared), caption=caption, rules_before=_starts(compared))
    page.add("## The same settings at the other scales")
    page.add(
        "The warm-up of pre-training is in the paper's epochs, which a scale maps to images; a batch is of images, not "
        "of views. Where runs differ, all their values are given."
    )
    caption = f"Hyper-parameters of the scales {', '.join(OTHER_SCALES)} beside the paper's."
    page.table(_scales_table(compared), caption=caption, rules_before=_starts(compared))
    return page.files("hyperparameters", _numbers(compared))


def _specs(printed: PaperValue) -> list[Spec]:
    """The declared runs that a printed value of pre-training is for, without what single rows change."""
    roles = {title: role for role, title in (*MODEL_ROLES.items(), *DATA_ROLES.items())}
    methods = [name for name, preset in METHODS.items() if preset.title in printed.method.split(" and ")]
    models = [roles[printed.architecture]] if printed.architecture else list(MODEL_ROLES)
    specs = [
        Spec(need.spec.method, need.spec.model, need.spec.data, need.spec.epochs)
        for need in all_needs()
        if need.spec.method in methods and need.spec.model in models and need.spec.data == roles[printed.data]
    ]
    return list(dict.fromkeys(sorted(specs, key=lambda spec: spec.epochs)))


def _of_run(config: RunConfig, metric: str) -> Any:
    """The value of a run that a metric of Tables 5-8 means."""
    if metric == "warmup_epochs":
        return round(config.epochs * config.optim.warmup_steps / config.optim.total_steps)  # steps are whole
    if metric in AUGMENTATION:
        return getattr(config.augment, metric) if config.augment.name == "simclr" else NONE
    return getattr(config.optim, metric)


def _papers_table(compared: Sequence[Compared]) -> pd.DataFrame:
    return _named(compared).assign(
        Paper=[one.printed.value for one in compared],
        Here=[f"{_text(one.ours, one.printed)}{f' {MARK}' if one.differs else ''}" for one in compared],
    )


def _scales_table(compared: Sequence[Compared]) -> pd.DataFrame:
    columns = {
        f"`{name}`": [_text(at_scale(one.printed, SCALES[name]), one.printed) for one in compared]
        for name in OTHER_SCALES
    }
    return _named(compared).assign(Paper=[one.printed.value for one in compared], **columns)


def _numbers(compared: Sequence[Compared]) -> pd.DataFrame:
    """A line a value, with what stands for it at every scale."""
    printed = [one.printed for one in compared]
    return pd.DataFrame(
        {
            "place": [value.place for value in printed],
            "method": [value.method for value in printed],
            "architecture": [value.architecture for value in printed],
            "data": [value.data for value in printed],
            "setting": [value.metric for value in printed],
            "printed": [value.value for value in printed],
            "differs": [one.differs for one in compared],
            **{
                name: [_text(at_scale(value, SCALES[name]), value) for value in printed]
                for name in ("paper", *OTHER_SCALES)
            },
        }
    )


def _named(compared: Sequence[Compared]) -> pd.DataFrame:
    """The columns that say what a line is about."""
    printed = [one.printed for one in compared]
    return pd.DataFrame(
        {
            "Table": [value.place.removeprefix("Table ") for value in printed],
            "Of": [", ".join(filter(None, (value.method, value.architecture, value.data))) for value in printed],
            "Setting": [f"`{value.metric}`" for value in printed],
        }
    )


def _starts(compared: Sequence[Compared]) -> list[int]:
    """The lines with which the second and later tables of the paper start."""
    places = [one.printed.place for one in compared]
    return [line for line in range(1, len(places)) if places[line] != places[line - 1]]


def _text(values: Sequence[Any], printed: PaperValue) -> str:
    """`0.05`, or several values; one that is the paper's as it prints it."""
    return " / ".join(
        value if isinstance(value, str) else printed.value if value == printed.number else f"{value:g}"
        for value in values
    )


if __name__ == "__main__":
    run_pages(pages)
