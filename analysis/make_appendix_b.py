"""Appendix B: how long CAN trains beside DnC, and here: `python analysis/make_appendix_b.py`.

Repeats the paper's arithmetic, counts what a TPU does in it, and says what the measured machines would take. Writes
`appendix_b.md`, `.csv` and `.tex` into `results/` and prints the page. Trains and measures nothing.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from pathlib import Path

import pandas as pd

from analysis.lib.benchmarks.table import machine_names
from analysis.lib.command import run_pages
from analysis.lib.documents import Page, read_csv
from analysis.lib.paper import paper_values
from analysis.lib.paper_training import APPENDIX_B, Training, flops_per_image, training
from can.commands.setting import PUBLISHED

METHODS = ("CAN", "DnC")
HOURS_A_YEAR = 24 * 365.25


def pages(published: Path = PUBLISHED) -> dict[str, str]:
    """The texts of `appendix_b.md`, `.csv` and `.tex`, by name. Raises DataError without the published FLOPs."""
    trainings = {method: training(method) for method in METHODS}
    can, dnc = trainings["CAN"], trainings["DnC"]
    flops = flops_per_image(published, can.encoder)
    page = Page("# Appendix B: the time that CAN trains, beside DnC's")
    page.add(
        f"{can.epochs:g} epochs of IN-1K are {can.images / 1e9:.2f} billion images. The paper has two measured times, "
        "takes runtime to be linear in the number of TPUs, and calls what follows a very approximate guide."
    )
    page.table(_papers_table(trainings), caption="Training times that the paper gives, and what follows from them.")
    page.bullets(_claims(can, dnc))
    page.add(
        f"A training step of CAN on {can.encoder} takes {flops / 1e9:.0f} GFLOPs an image (counted: `flops.md`), so "
        f"that a TPU did {can.images_per_tpu_second * flops / 1e12:.0f} TFLOP/s, and the whole run is "
        f"{can.images * flops / 1e21:.2f} · 10²¹ FLOPs."
    )
    measured = machines(published, can.images * flops)
    if len(measured):
        page.add("## On machines that are measured here")
        page.add(
            f"The time of that run of CAN on {can.encoder} at the speed, in floating-point operations a second, of the "
            "training steps of CAN that are timed here."
        )
        caption = f"Time of CAN on {can.encoder} for {can.epochs:g} epochs at measured speeds."
        page.table(_measured_table(measured), caption=caption)
    return page.files("appendix_b", _numbers(trainings, measured))


def machines(published: Path, flops: float) -> pd.DataFrame:
    """CAN's timed steps of every scale, with the `years` in which they would do `flops`."""
    found = [read_csv(path).assign(scale=path.parent.name) for path in sorted(published.glob("*/speed.csv"))]
    if not found:
        return pd.DataFrame()
    rows = pd.concat(found, ignore_index=True)
    rows = rows[rows["method"] == "can"].reset_index(drop=True)
    return rows.assign(years=flops / (rows["gflops_per_s"] * 1e9) / 3600 / HOURS_A_YEAR)


def _claims(can: Training, dnc: Training) -> list[str]:
    """What the paper concludes, beside what its numbers give."""
    values = {(value.place, value.metric): value for value in paper_values() if value.method in METHODS}
    hours = values[APPENDIX_B, "training_time_on_512_tpus"]
    faster = values["Sec. 4.1", "speed_over_dnc_r50"]
    small = values[APPENDIX_B, "parameters_relative_to_vit_l"]
    parameters = [
        next(value.number for value in paper_values() if (value.method, value.metric) == (method, "parameters"))
        for method in ("DnC", "CAN")
    ]
    return [
        f"CAN would take about {hours.value} hours on {dnc.tpus:g} TPUs: it is {can.tpu_hours / dnc.tpus:.2f}.",
        f"CAN on {can.encoder} is about {faster.value} times as fast as DnC on {dnc.encoder}: it is "
        f"{dnc.tpu_hours / can.tpu_hours:.2f}.",
        f"DnC's {dnc.encoder} has {small.value} of the parameters: {parameters[0]:g} of {parameters[1]:g} million are "
        f"{parameters[0] / parameters[1]:.2f}.",
    ]


def _papers_table(trainings: dict[str, Training]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Method": list(trainings),
            "Encoder": [of.encoder for of in trainings.values()],
            "Epochs": [f"{of.epochs:g}" for of in trainings.values()],
            "Hours": [f"{of.hours:g}" for of in trainings.values()],
            "TPUs": [f"{of.tpus:g}" for of in trainings.values()],
            "TPU-hours": [f"{of.tpu_hours:,.0f}" for of in trainings.values()],
            "Images/s": [f"{of.images_per_tpu_second * of.tpus:,.0f}" for of in trainings.values()],
            "a TPU": [f"{of.images_per_tpu_second:.0f}" for of in trainings.values()],
        }
    )


def _measured_table(measured: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Scale": measured["scale"],
            "Timed model": measured["model"],
            "Layers": measured["depth"].map("{:g}".format) + " + " + measured["decoder_depth"].map("{:g}".format),
            "Pixels": measured["image_size"],
            "Machine": machine_names(measured),
            "Images/s": measured["images_per_s"].map("{:,.1f}".format),
            "GFLOP/s": measured["gflops_per_s"].map("{:.0f}".format),
            "Years": measured["years"].map("{:,.0f}".format),
        }
    )


def _numbers(trainings: dict[str, Training], measured: pd.DataFrame) -> pd.DataFrame:
    """A line a method of the paper, then one a timed step."""
    lines = [
        dict(
            source="paper",
            method=method,
            encoder=of.encoder,
            epochs=of.epochs,
            hours=of.hours,
            tpus=of.tpus,
            tpu_hours=of.tpu_hours,
            images_per_s=of.images_per_tpu_second * of.tpus,
            images_per_tpu_second=of.images_per_tpu_second,
        )
        for method, of in trainings.items()
    ]
    names = {"scale": "source", "method": "method", "model": "encoder", "images_per_s": "images_per_s"}
    names |= {"gflops_per_s": "gflops_per_s", "years": "years"}
    timed = measured[list(names)].rename(columns=names) if len(measured) else pd.DataFrame()
    return pd.concat([pd.DataFrame(lines), timed], ignore_index=True)


if __name__ == "__main__":
    run_pages(pages)
