"""What the folders in a set's file names mean: splits, classes, or nothing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from can.errors import DataError

TRAIN, VALIDATION, TEST = "train", "validation", "test"
_SPLIT_NAMES = {
    TRAIN: re.compile(r"train(ing)?([_ -]?(set|data|images))?", re.IGNORECASE),
    VALIDATION: re.compile(r"val(id(ation)?)?([_ -]?(set|data|images))?", re.IGNORECASE),
    TEST: re.compile(r"test(ing)?([_ -]?(set|data|images))?", re.IGNORECASE),
}


class Layout(NamedTuple):
    """Files by split, and the class folders of all splits together.

    Attributes:
      splits: {split: {the file's name below class folders or splits: its whole name}}.
      classes: in sorted order; empty if nothing is labelled.
      beside: files in folders that are neither split nor class.
    """

    splits: Mapping[str, Mapping[str, str]]
    classes: tuple[str, ...]
    beside: Sequence[str]


def split_named(folder: str) -> str | None:
    """The split that a folder, or a user, calls so in any case: train, validation or test; None for other names."""
    return next((split for split, names in _SPLIT_NAMES.items() if names.fullmatch(folder)), None)


def layout_of(names: Iterable[str], where: str) -> Layout:
    """Splits and classes out of the files' names, with "/" between folders.

    - A folder that all files share says nothing: `flower_photos/roses/1.jpg` is `roses/1.jpg`. One class is none.
    - Folders with the usual names of splits are splits: if two splits are there, whatever lies beside them; one alone
      if nothing does, for a class may be called "train".
    - The next folder is the class, if there are several. Splits share their classes, which one of them may lack.

    Raises DataError if there are no files, if only some lie in class folders, or if two folders are the same split.
    """
    below = {name: name for name in names}
    if not below:
        raise DataError(f"no images in {where}")
    below = _without_shared_folder(below, keep_splits=True)
    folders = Counter(name.partition("/")[0] for name in below if "/" in name)
    by_split: dict[str, str] = {}
    for folder in sorted(folders):
        if split := split_named(folder):
            if split in by_split and _are_splits(folders):
                raise DataError(f"{where} has two folders for the split {split}, {by_split[split]} and {folder}")
            by_split[split] = folder
    if not _are_splits(folders):
        splits = {TRAIN: _without_shared_folder(below)}
        beside: list[str] = []
    else:
        of_folder = {folder: split for split, folder in by_split.items()}
        parts: dict[str, dict[str, str]] = {split: {} for split in (TRAIN, VALIDATION, TEST) if split in by_split}
        beside = []
        for name, whole in below.items():
            folder, _, rest = name.partition("/")
            if rest and folder in of_folder:
                parts[of_folder[folder]][rest] = whole
            else:
                beside.append(whole)
        shared = _shared_folder([name for part in parts.values() for name in part])
        while shared:
            parts = {split: _without(part, shared) for split, part in parts.items()}
            shared = _shared_folder([name for part in parts.values() for name in part])
        splits = parts
    return Layout(splits, _classes(splits, where), beside)


def label_of(name: str, classes: Mapping[str, int]) -> int | None:
    """The label of a file in a split; None if the set has no classes."""
    return classes[name.partition("/")[0]] if classes else None


def _are_splits(folders: Mapping[str, int]) -> bool:
    found = {split for folder in folders if (split := split_named(folder))}
    return len(found) >= 2 or (len(found) == 1 and all(split_named(folder) for folder in folders))


def _classes(splits: Mapping[str, Mapping[str, str]], where: str) -> tuple[str, ...]:
    folders: set[str] = set()
    loose = None
    for part in splits.values():
        for name in part:
            folder, _, rest = name.partition("/")
            if rest:
                folders.add(folder)
            else:
                loose = part[name]
    if folders and loose is not None:
        raise DataError(f"{where} has class folders and also loose images ({loose}): move or remove the loose ones")
    return tuple(sorted(folders))


def _without_shared_folder(below: dict[str, str], *, keep_splits: bool = False) -> dict[str, str]:
    while (shared := _shared_folder(below)) and not (keep_splits and split_named(shared)):
        below = _without(below, shared)
    return below


def _shared_folder(names: Iterable[str]) -> str | None:
    """The first folder of all names, if they share one."""
    folders = {name.partition("/")[0] if "/" in name else None for name in names}
    return folders.pop() if len(folders) == 1 else None


def _without(below: Mapping[str, str], folder: str) -> dict[str, str]:
    return {name.removeprefix(f"{folder}/"): whole for name, whole in below.items()}
