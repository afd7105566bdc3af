"""What training took in the paper, by its Appendix B, and what an image costs in it, by `flops.csv`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from analysis.lib.documents import read_csv
from analysis.lib.paper import paper_values
from can.commands.scales import IN1K_IMAGES
from can.errors import DataError

APPENDIX_B = "App. B"  # of the paper, as `paper_values.csv` calls it
USUAL_RATE = {"can": 0.5, "simclr": 0.0, "mae": 0.75}  # of masking, as the paper compares the methods


class Training(NamedTuple):
    """What the paper says of the training of a method."""

    encoder: str
    epochs: float
    hours: float
    tpus: float

    @property
    def tpu_hours(self) -> float:
        """Hours of one TPU, if runtime is linear in their number, as the paper supposes."""
        return self.hours * self.tpus

    @property
    def images(self) -> float:
        """Seen in training, views not counted twice."""
        return self.epochs * IN1K_IMAGES

    @property
    def images_per_tpu_second(self) -> float:
        """Images a second and TPU."""
        return self.images / self.tpu_hours / 3600


def training(method: str) -> Training:
    """What the paper says of a method's training."""
    printed = {value.metric: value for value in paper_values() if value.place == APPENDIX_B and value.method == method}
    hours, tpus = printed["training_time"], printed["tpus"]
    return Training(hours.architecture, float(hours.epochs), hours.number, tpus.number)


def flops_per_image(published: Path, encoder: str) -> float:
    """Of a training step of CAN as the paper compares it. Raises DataError if there is no `flops.csv`."""
    counts = read_counts(published / "flops.csv")
    size = encoder.removeprefix("ViT-")
    usual = (counts["method"] == "can") & (counts["mask_rate"] == USUAL_RATE["can"]) & (counts["encoder"] == size)
    (flops,) = counts[usual]["step_flops"]
    return float(flops)


def read_counts(path: Path) -> pd.DataFrame:
    """The counts of a `flops.csv`. Raises DataError if it is not there."""
    counts = read_csv(path)
    if counts.empty:
        raise DataError(f"no counts in {path}: make them with `python analysis/make_flops.py`")
    return as_counts(counts)


def as_counts(rows: Any) -> pd.DataFrame:
    """The rows as a frame of whole numbers, some of which are missing."""
    counts = pd.DataFrame(rows)
    return counts.astype({name: "Int64" for name in counts if name.endswith(("_macs", "_flops"))})
