"""The files that `parquet:` and `wds:` mean, and the split that each is of by its name: `x-train-00000.tar`."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from can.data.formats.layout import TEST, TRAIN, VALIDATION, split_within
from can.errors import DataError, UserError


def needs(package: str, what: str) -> UserError:
    """The error for a package that is not installed."""
    return UserError(f"{what} needs the package {package}: pip install -e '.[sources]'")


def files_of(pattern: str, suffix: str) -> list[Path]:
    """The files that `pattern` means, sorted: a path, `x-{000..009}.tar`, `train/*.tar`, or a folder of such files.

    Raises:
      DataError: there are none, or one is missing or cannot be read.
      UserError: braces need a package that is not installed.
    """
    paths = [path for expanded in _without_braces(os.path.expanduser(pattern)) for path in _matching(expanded)]
    found: list[Path] = []
    for path in dict.fromkeys(paths):
        if path.is_dir():
            below = (file for file in path.rglob(f"*{suffix}") if not file.name.startswith("."))
            found += sorted(file for file in below if file.is_file())
        elif path.is_file():
            found.append(path)
        else:
            raise DataError(f"there is no file {path}: check the numbers in {pattern}, or fetch it")
    if not found:
        raise DataError(f"no {suffix} files at {pattern}: pass a file, a folder of them, or a pattern in quotes")
    return sorted(found)


def by_split(files: Sequence[Path], where: str) -> dict[str, list[Path]]:
    """The files of each split; all are "train" if no name below their common folder says otherwise.

    Raises DataError if some names say a split and others do not.
    """
    root = Path(os.path.commonpath([file.parent for file in files]))
    split_of = {file: _split_of(file.relative_to(root)) for file in files}
    if not any(split_of.values()):
        return {TRAIN: list(files)}
    for file, split in split_of.items():
        if split is None:
            other, of = next((other, of) for other, of in split_of.items() if of)
            raise DataError(f"{where}: {file.name} is of no split and {other.name} of {of}: name one kind of files")
    splits = {split: [file for file in files if split_of[file] == split] for split in (TRAIN, VALIDATION, TEST)}
    return {split: chosen for split, chosen in splits.items() if chosen}


def _split_of(below: Path) -> str | None:
    return next((split for part in (*below.parent.parts, below.stem) if (split := split_within(part))), None)


def _without_braces(pattern: str) -> list[str]:
    if "{" not in pattern:
        return [pattern]
    try:
        import braceexpand
    except ImportError as error:
        raise needs("braceexpand", "a name with {...}") from error
    try:
        return list(braceexpand.braceexpand(pattern))
    except ValueError as error:
        raise DataError(f"the braces of {pattern} do not close: write {{000..009}}") from error


def _matching(pattern: str) -> list[Path]:
    if glob.has_magic(pattern) and not os.path.exists(pattern):
        return [Path(path) for path in sorted(glob.glob(pattern, recursive=True))]
    return [Path(pattern)]
