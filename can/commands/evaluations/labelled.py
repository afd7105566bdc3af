"""The labelled set in the role of IN-1K, as evaluations read it."""

from __future__ import annotations

from can import data
from can.commands.setting import Setting
from can.data import ImageSet
from can.data.image_set import sha256_of
from can.runs.provenance import without_folder


def described(setting: Setting) -> dict[str, str]:
    """Names of the splits that are trained and tested on."""
    name = name_of(setting.labelled)
    return {"train": f"{name} {setting.train_split}", "test": f"{name} {setting.scale.test_split}"}


def name_of(data_set: str) -> str:
    """A data set's name without this machine's folders; a hash of the whole keeps folders of one name apart."""
    short = without_folder(data_set)
    return short if short == data_set else f"{short} ({sha256_of(data_set)[:8]})"


def load(setting: Setting) -> dict[str, ImageSet]:
    """The splits by their names, training first."""
    names = described(setting)
    splits = {"train": setting.train_split, "test": setting.scale.test_split}
    return {
        names[role]: data.load(setting.labelled, split, data_dir=setting.data_dir) for role, split in splits.items()
    }


def train_and_test(setting: Setting, images: dict[str, ImageSet]) -> tuple[ImageSet, ImageSet]:
    """The two splits out of what `load` returned, with whatever else there is."""
    names = described(setting)
    return images[names["train"]], images[names["test"]]
