"""Where the samples of a tar archive lie in it, and what their `.cls` or `.json` files say of their classes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

from can.data.contents import state_of
from can.data.formats.listing import MOST_BYTES, SUFFIXES
from can.data.formats.named_columns import Asked
from can.errors import DataError, UserError, first_line
from can.system.files import write_atomic

# As webdataset parts names: a key that ends before the first dot behind the last slash, and what follows the dot.
_KEY_AND_KIND = re.compile(r"((?:.*/|)[^.]+)[.]([^/]*)", re.DOTALL)
_LABEL_KEYS = ("label", "cls", "class")  # in .json files
_VERSION = 1  # of what is kept


class Sample(NamedTuple):
    """An image in an archive; `label` is what a file beside it says of its class, a number or a name."""

    name: str
    start: int
    size: int
    label: int | str | None


class _Member(NamedTuple):
    name: str
    start: int
    size: int


def samples_of(archive: Path, asked: Asked, data_dir: Path) -> list[Sample]:
    """The samples that have an image, in the archive's order; kept below `data_dir` and found again when it changes.

    Raises DataError if it is damaged, compressed, or has several images in a sample.
    """
    about = (*state_of(archive.stat()), *asked, _VERSION)
    store = data_dir / "tar_index" / f"{hashlib.sha256(repr(about).encode()).hexdigest()[:24]}.json"
    with contextlib.suppress(OSError, ValueError, TypeError):
        return [Sample(*entry) for entry in json.loads(store.read_text())]
    samples = list(_samples(archive, asked))
    with contextlib.suppress(OSError, UserError):  # a set may be read where nothing can be written
        write_atomic(store, json.dumps(samples))
    return samples


def _samples(archive: Path, asked: Asked) -> Iterator[Sample]:
    with archive.open("rb") as file:
        for key, members in _grouped(_members(archive), archive):
            images = [kind for kind in members if f".{kind.rpartition('.')[2]}" in SUFFIXES]
            image = _chosen(images, asked.image, f"{archive}/{key}")
            if image is None:
                continue
            name, start, size = members[image]
            if size > MOST_BYTES:
                raise DataError(f"{archive}/{name} takes {size / 1e6:.0f} MB, more than an image that can be read")
            yield Sample(name, start, size, _label(file, members, asked.label, f"{archive}/{key}"))


def _members(archive: Path) -> Iterator[_Member]:
    try:
        with tarfile.open(archive, "r:") as opened:
            for member in opened:
                hidden = any(part.startswith(".") and part != "." for part in member.name.split("/"))
                if member.isreg() and not hidden:
                    yield _Member(member.name.removeprefix("./"), member.offset_data, member.size)
            size = os.stat(archive).st_size
            if opened.offset > size:
                raise tarfile.ReadError("unexpected end of data")
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        reason = first_line(error)
        raise DataError(
            f"{archive} is not a whole tar archive without compression ({reason}): unpack .gz, or fetch it again"
        ) from error


def _grouped(members: Iterable[_Member], archive: Path) -> Iterator[tuple[str, dict[str, _Member]]]:
    """Each sample's key, and its files by what follows the key's dot, in lower case."""
    key: str | None = None
    sample: dict[str, _Member] = {}
    for member in members:
        if not (parts := _KEY_AND_KIND.fullmatch(member.name)):
            continue
        its_key, kind = parts.group(1), parts.group(2).lower()
        if its_key != key:
            if key is not None:
                yield key, sample
            key, sample = its_key, {}
        if kind in sample:
            raise DataError(f"{archive} has two files {key}.{kind} in a row: give each sample a name of its own")
        sample[kind] = member
    if key is not None:
        yield key, sample


def _chosen(images: list[str], asked: str | None, what: str) -> str | None:
    if asked is not None:
        return asked if asked in images else None
    if len(images) > 1:
        raise DataError(f"{what} has several images (.{', .'.join(images)}): add #image={images[0]}")
    return images[0] if images else None


def _label(file: BinaryIO, members: Mapping[str, _Member], asked: str | None, what: str) -> int | str | None:
    """The class that a sample's files say; `asked` names a kind of file, or a key in the `.json` file."""
    if asked == "":
        return None
    if (kind := "cls" if asked is None else asked) in members:
        _, start, size = members[kind]
        file.seek(start)
        text = file.read(size).decode(errors="surrogateescape").strip()
        return int(text) if re.fullmatch(r"-?\d+", text) else text or None
    if "json" not in members:
        return None
    _, start, size = members["json"]
    file.seek(start)
    try:
        found = json.loads(file.read(size))
    except ValueError as error:
        raise DataError(f"{what}.json is not JSON ({first_line(error)}): write it again") from error
    keys = _LABEL_KEYS if asked is None else (asked,)
    values = [found[key] for key in keys if key in found] if isinstance(found, dict) else []
    if values and not (values[0] is None or isinstance(values[0], int | str)):
        raise DataError(f"{what}.json has the label {values[0]!r}: it must be a number or a name")
    return values[0] if values else None
