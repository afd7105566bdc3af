"""The losses of a trained method on held-out images, under the same views and masks for every method (Table 4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from can import data, trained
from can.commands.evaluations.labelled import name_of
from can.commands.evaluations.protocols import augmentation
from can.commands.evaluations.records import records_of
from can.commands.setting import Run, Setting
from can.config import AugmentConfig
from can.data import ImageSet
from can.errors import ConfigError
from can.evals import final_losses
from can.runs import EvalRecord

MASK_RATE = 0.5  # CAN's, whatever a method was trained with
SEED = 0  # of views, masks and noise: the same for all runs


class FinalLosses:
    """See `can.evals.final_losses`. The images are those that other evaluations test on; labels are not read."""

    def protocol(self, setting: Setting, run: Run) -> dict[str, Any]:
        """The images, how views are made of them, and how many are contrasted at a time."""
        return {
            "name": "final_losses",
            "images": self._name(setting),
            "batch_size": setting.scale.batch_size,
            "mask_rate": MASK_RATE,
            "seed": SEED,
            "augment": augmentation(self._augment(setting)),
        }

    def images(self, setting: Setting) -> dict[str, ImageSet]:
        """The split that other evaluations test on."""
        split = setting.scale.test_split
        return {
            self._name(setting): data.load(setting.labelled, split, data_dir=setting.data_dir, labelled=False),
        }

    def measure(self, setting: Setting, run: Run, images: Mapping[str, Any]) -> list[EvalRecord]:
        """`infonce`, `reconstruct` and `denoise`, as far as the method has them."""
        held_out = images[self._name(setting)]
        found = final_losses.evaluate(
            trained.load_method(run.config, run.folder, num_classes=held_out.num_classes or 2),
            held_out,
            augment=self._augment(setting),
            mask_rate=MASK_RATE,
            batch_size=setting.scale.batch_size,
            seed=SEED,
        )
        if set(found) == {"n"}:
            raise ConfigError(
                f"{run.config.method.name} has neither a projection head nor a decoder: no loss to measure"
            )
        return records_of(found, run)

    def _augment(self, setting: Setting) -> AugmentConfig:
        return AugmentConfig("simclr", **setting.scale.augment)

    def _name(self, setting: Setting) -> str:
        return f"{name_of(setting.labelled)} {setting.scale.test_split}"
