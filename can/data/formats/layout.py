"""What the folders in a set's file names mean: splits, classes, or nothing."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from can.errors import DataError

TRAIN, VALIDATION, TEST = "train", "validation", "test"
_KIND = r"(?:[_ -]?(?:set|data|images))?"
_SPLIT_NAMES = {
    TRAIN: re.compile(rf"train(?:ing|val)?{_KIND}", re.IGNORECASE),
    VALIDATION: re.compile(rf"(?:val(?:id(?:at(?:e|ion))?)?|dev){_KIND}", re.IGNORECASE),
    TEST: re.compile(rf"(?:test(?:ing)?|eval(?:uation)?){_KIND}", re.IGNORECASE),
}
# What lies beside flat splits without being one, or a class.
_NO_CLASS = re.compile(rf"(?:un)?(?:label(?:l?ed|s)?){_KIND}|extra|masks?|annotations?|preds?|samples?", re.IGNORECASE)
# What may stand around such a name in a folder's: `seg_train`, `val2017`. It ends or begins with no letter.
_AROUND = r"(?P<before>|.*[\W\d_])(?:{})(?P<after>|[\W\d_].*)"
_IN_FOLDERS = {
    split: re.compile(_AROUND.format(names.pattern), re.IGNORECASE | re.DOTALL) for split, names in _SPLIT_NAMES.items()
}


class Layout(NamedTuple):
    """Files by split, and the class folders of all splits together.

    Attributes:
      splits: {split: {the file's name below class folders or splits: its whole name}}.
      classes: in sorted order; empty if nothing is labelled.
      beside: files in folders that are neither split nor class.
      called_splits: classes whose folders are called as splits are.
    """

    splits: Mapping[str, Mapping[str, str]]
    classes: tuple[str, ...]
    beside: Sequence[str]
    called_splits: Sequence[str] = ()


def split_named(folder: str) -> str | None:
    """The split that a folder, or a user, calls so in any case: train, validation or test; None for other names."""
    return next((split for split, names in _SPLIT_NAMES.items() if names.fullmatch(folder)), None)


def split_within(name: str) -> str | None:
    """The split in a name that may have more in it: `imagenet-train-0000`, `val2017`; None for other names."""
    return next((split for split, names in _IN_FOLDERS.items() if names.fullmatch(name)), None)


def layout_of(names: Iterable[str], where: str) -> Layout:
    """Splits and classes out of the files' names, with "/" between folders.

    - A folder that all files share says nothing: `flower_photos/roses/1.jpg` is `roses/1.jpg`. One class is none.
    - Folders with the usual names of splits are splits: if two splits are there, whatever lies beside them; one alone
      if nothing does, for a class may be called "train". The same may stand around all names: `seg_train`, `seg_test`.
    - But where all folders hold images themselves, and some are called otherwise, all are classes: `seabus`, `train`,
      `tram`, `val`.
    - Such folders may lie in the class folders, too, if each has one: `roses/train/1.jpg`.
    - The next folder is the class, if there are several. Splits share their classes, which one of them may lack.
    - A split without class folders has no labels, whatever the others have: `test/1.jpg`. So has one whose only folder
      is none of the others' classes: `test/images/1.jpg`.

    Raises DataError if there are no files, if only some of a split lie in class folders, or if two folders are the same
    split.
    """
    below = {name: name for name in names}
    if not below:
        raise DataError(f"no images in {where}")
    below = _without_shared_folder(below, keep_splits=True)
    depth, split_of = _split_folders(below, where)
    if not split_of:
        splits = {TRAIN: _without_shared_folder(below)}
        classes = _classes(splits, where)
        return Layout(splits, classes, [], [name for name in classes if split_named(name)])
    splits = {split: {} for split in (TRAIN, VALIDATION, TEST) if split in split_of.values()}
    beside: list[str] = []
    for name, whole in below.items():
        folders = name.split("/")
        if len(folders) > depth + 1 and (split := split_of.get(folders.pop(depth))):
            splits[split]["/".join(folders)] = whole
        else:
            beside.append(whole)
    for split, part in splits.items():  # `train/train/roses/1.jpg`, as some archives are unpacked
        while (shared := _shared_folder(part)) and _IN_FOLDERS[split].fullmatch(shared):
            part = splits[split] = _without(part, shared)
    while shared := _shared_folder([name for part in splits.values() for name in part]):
        splits = {split: _without(part, shared) for split, part in splits.items()}
    for split, part in splits.items():
        others = {name.partition("/")[0] for other in splits if other != split for name in splits[other] if "/" in name}
        if len(others) > 1 and (shared := _shared_folder(part)) and shared not in others:
            splits[split] = _without_shared_folder(part)
    return Layout(splits, _classes(splits, where), beside)


def label_of(name: str, classes: Mapping[str, int]) -> int | None:
    """The label of a file in a split; None if the set has no classes, or the split no class folders."""
    return classes[name.partition("/")[0]] if classes and "/" in name else None


def _split_folders(names: Collection[str], where: str) -> tuple[int, dict[str, str]]:
    """How deep the splits' folders lie, 0 or 1, and the split of each; none if there are no splits."""
    pairs = {tuple(folders[:2]) for name in names if (folders := name.split("/")[:-1])}
    tops = {pair[0] for pair in pairs}
    if found := _splits_among(tops, where):
        return 0, {} if _are_classes(tops, found, names) else found
    found = _splits_among({pair[1] for pair in pairs if len(pair) == 2}, where)
    in_each = {pair[0] for pair in pairs if len(pair) == 2 and pair[1] in found} == tops
    return 1, found if in_each and len(set(found.values())) >= 2 else {}


def _are_classes(tops: Collection[str], splits: Collection[str], names: Collection[str]) -> bool:
    """Whether all folders, those called as splits and others, have images of their own."""
    others = [folder for folder in tops if folder not in splits and not _NO_CLASS.fullmatch(folder)]
    with_images = {name.partition("/")[0] for name in names if name.count("/") == 1}
    return bool(others) and with_images == set(tops)


def _splits_among(folders: Collection[str], where: str) -> dict[str, str]:
    """{folder: split}, if the folders' names are those of splits."""
    alike: dict[tuple[str, str], dict[str, str]] = {}  # by what stands around the usual name
    for folder in sorted(folders):
        for split, names in _IN_FOLDERS.items():
            if match := names.fullmatch(folder):
                alike.setdefault((match["before"].lower(), match["after"].lower()), {})[folder] = split
    usual = alike.get(("", ""), {})
    sets = [found for found in alike.values() if len(set(found.values())) >= 2]
    if usual in sets or (usual and len(usual) == len(folders)):
        sets = [usual]
    if len(sets) > 1:
        raise DataError(f"{where} has splits of several sets, {', '.join(map('/'.join, sets))}: move all but one away")
    for folder, split in (found := sets[0] if sets else {}).items():
        if twins := [other for other, of in found.items() if of == split and other != folder]:
            raise DataError(f"{where} has two folders for the split {split}, {folder} and {twins[0]}")
    return found


def _classes(splits: Mapping[str, Mapping[str, str]], where: str) -> tuple[str, ...]:
    """The class folders of all splits; raises DataError for a split of which only some images lie in such folders."""
    classes: set[str] = set()
    for part in splits.values():
        folders = {name.partition("/")[0] for name in part if "/" in name}
        loose = next((whole for name, whole in part.items() if "/" not in name), None)
        if folders and loose is not None:
            raise DataError(f"{where} has class folders and also loose images ({loose}): move or remove the loose ones")
        classes |= folders
    return tuple(sorted(classes))


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
