"""Pictures of what a CAN run does with held-out images, and how well it predicts noise (Figures 2 and 3)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from can import data, trained
from can.commands.evaluations.labelled import name_of
from can.commands.evaluations.protocols import augmentation
from can.commands.evaluations.records import records_of
from can.commands.setting import Run, Setting
from can.config import AugmentConfig
from can.data import ImageSet
from can.errors import ConfigError
from can.evals import pictures
from can.methods.can import CAN
from can.runs import EvalRecord, RunDir

NAME = "pictures"
SHARES = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)  # noise levels, of sigma_max: none, within training, and beyond it
COUNT = 128  # images of the numbers
SHOWN = 3  # images of the pictures
SEED = 0  # of views, masks and noise: the same for all runs


class PicturesOfMethod:
    """See `can.evals.pictures`. The pictures themselves go to `pictures.npz` beside the results."""

    def protocol(self, setting: Setting, run: Run) -> dict[str, Any]:
        """The images, how views are made of them, and the levels of noise."""
        if run.config.method.name != CAN.name:
            raise ConfigError(f"pictures show what CAN does, not {run.config.method.name}: pass --method=can")
        return {
            "name": NAME,
            "images": self._name(setting),
            "count": COUNT,
            "shown": SHOWN,
            "shares": list(SHARES),
            "seed": SEED,
            "augment": augmentation(self._augment(setting)),
        }

    def images(self, setting: Setting) -> dict[str, ImageSet]:
        """The split that other evaluations test on."""
        split = setting.scale.test_split
        return {self._name(setting): data.load(setting.labelled, split, data_dir=setting.data_dir, labelled=False)}

    def measure(self, setting: Setting, run: Run, images: Mapping[str, Any]) -> list[EvalRecord]:
        """`sigma<share>/reconstruct` and `sigma<share>/noise_correlation`."""
        method = trained.load_method(run.config, run.folder)
        assert isinstance(method, CAN)
        found, shown = pictures.evaluate(
            method,
            images[self._name(setting)],
            augment=self._augment(setting),
            shares=SHARES,
            count=COUNT,
            shown=SHOWN,
            seed=SEED,
        )
        shown.write(path_of(run.folder))
        return records_of(found, run)

    def _augment(self, setting: Setting) -> AugmentConfig:
        return AugmentConfig("simclr", **setting.scale.augment)

    def _name(self, setting: Setting) -> str:
        return f"{name_of(setting.labelled)} {setting.scale.test_split}"


def path_of(folder: RunDir) -> Path:
    """Where the pictures of a run are."""
    return folder.results / f"{NAME}.npz"
