"""Image files in a folder or in zip archives as `Records`, with the splits and classes that their folders are.

Such sets come sorted by class. They are shuffled once, when they are opened, as TFDS shuffles its own when it writes
them: in the order of a hash of the names. `train[:80%]` is then a fair sample, the same on every machine, and a file
that is added or removed moves no other.
"""

from __future__ import annotations

import functools
import hashlib
import threading
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from absl import logging

from can.data.contents import content_hashes
from can.data.formats.layout import TRAIN, label_of, layout_of
from can.data.formats.listing import ZIP_ERRORS, ImageFile, list_folder, list_zips
from can.data.image_set import EncodedImages, Records, sha256_of
from can.errors import DataError

_SHUFFLE_SEED = b"can"  # another one is another order, and so another fingerprint
_NAMED = 5  # classes that a line names


@dataclass(frozen=True)
class FileRecords:
    """Files under `root`; `labels` holds None for each where the set is unlabelled, `contents` hashes of the files."""

    root: Path
    names: Sequence[str]
    labels: Sequence[int | None]
    contents: Sequence[bytes] = ()

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[bytes, int | None]:
        """See `Records`."""
        try:
            return (self.root / self.names[index]).read_bytes(), self.labels[index]
        except OSError as error:
            raise DataError(f"{self.describe(index)} cannot be read: {error.strerror}") from error

    def label(self, index: int) -> int | None:
        """See `Records`."""
        return self.labels[index]

    def describe(self, index: int) -> str:
        """See `Records`."""
        return str(self.root / self.names[index])


@dataclass(frozen=True)
class ZipRecords:
    """Members of zip archives; each thread opens the archives for itself, since one handle serves one reader."""

    members: Sequence[tuple[Path, str]]
    labels: Sequence[int | None]
    contents: Sequence[tuple[int, ...]] = ()  # bytes and CRC
    _open: _OpenArchives = field(default_factory=lambda: _OpenArchives(), compare=False)

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, index: int) -> tuple[bytes, int | None]:
        """See `Records`."""
        path, name = self.members[index]
        try:
            archive = self._open.archive(path)
            size = archive.getinfo(name).file_size
            with archive.open(name) as member:
                return member.read(size), self.labels[index]  # no more than it promises: it may be a bomb
        except ZIP_ERRORS as error:
            raise DataError(f"{self.describe(index)} cannot be read ({error}): fetch the archive again") from error

    def label(self, index: int) -> int | None:
        """See `Records`."""
        return self.labels[index]

    def describe(self, index: int) -> str:
        """See `Records`."""
        path, name = self.members[index]
        return f"{path}/{name}"


class _OpenArchives(threading.local):
    """Zip archives opened on first use, by each thread; pickled to other processes as empty."""

    def __init__(self) -> None:
        self._archives: dict[Path, zipfile.ZipFile] = {}

    def archive(self, path: Path) -> zipfile.ZipFile:
        if path not in self._archives:
            self._archives[path] = zipfile.ZipFile(path)
        return self._archives[path]

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return type(self), ()


def splits_in_folder(name: str, root: Path, data_dir: Path) -> dict[str, EncodedImages]:
    """The splits of the images below `root`, as `can.data.formats.layout` has them; all is "train" if there are none.

    What the files hold is read once, and its hashes are kept under `data_dir`.

    Raises:
      DataError: there are no images, some cannot be read, or some lie in class subfolders and some do not.
    """
    found = list_folder(root)
    hashes = content_hashes([(root / file.member, file.content) for file in found], str(root), data_dir)
    return _splits(name, found, hashes, str(root))


def splits_in_zips(name: str, paths: Iterable[Path]) -> dict[str, EncodedImages]:
    """As `splits_in_folder`, of the images in the archives `paths` together.

    Raises:
      DataError: an archive is damaged, there are no images, or only some lie in class folders.
    """
    paths = sorted(paths)
    found = list_zips(paths)
    return _splits(name, found, [file.content for file in found], ", ".join(map(str, paths)))


def shuffle_key(name: str) -> bytes:
    """What files are sorted by: a hash of the name, the same on every machine (names that are not UTF-8 included)."""
    return hashlib.blake2b(name.encode(errors="surrogateescape"), key=_SHUFFLE_SEED, digest_size=16).digest()


def _splits(
    name: str, found: Sequence[ImageFile], contents: Sequence[bytes | tuple[int, ...]], where: str
) -> dict[str, EncodedImages]:
    content_of = dict(zip(found, contents, strict=True))
    layout = layout_of((file.name for file in found), where)
    if layout.beside:
        _say_once(f"left out of {where}: {len(layout.beside)} images beside its splits {', '.join(layout.splits)}")
    if layout.called_splits:
        called = ", ".join(layout.called_splits)
        _say_once(f"{where}: {called} are taken for classes, as the folders beside them are; rename them if not")
    files: dict[str, list[ImageFile]] = {}
    for file in found:  # a name may be in two archives
        files.setdefault(file.name, []).append(file)
    label = {folder: index for index, folder in enumerate(layout.classes)}
    splits = {}
    for split, names in layout.splits.items():
        short = sorted(
            ((below, file) for below, whole in names.items() for file in files[whole]),
            key=lambda entry: (shuffle_key(entry[0]), entry[1]),
        )
        labels = [label_of(below, label) for below, _ in short]
        labelled = any(label is not None for label in labels)
        if layout.classes and not labelled:
            _say_once(f"{where} {split}: {len(short)} images without labels, as they lie in no class folders")
        else:
            _say_what_is_missing(labels, layout.classes, f"{where} {split}", len(layout.splits))
        splits[split] = EncodedImages(
            name=name,
            split=split,
            num_classes=len(layout.classes) if labelled else None,
            class_names=layout.classes if labelled else (),
            fingerprint=sha256_of(*((below, _text(content_of[file])) for below, file in short), *layout.classes),
            records=_records([file for _, file in short], labels, [content_of[file] for _, file in short]),
        )
    return splits


def _text(content: bytes | tuple[int, ...]) -> str:
    return content.hex() if isinstance(content, bytes) else repr(content)


def _records(files: Sequence[ImageFile], labels: Sequence[int | None], contents: Sequence[Any]) -> Records:
    if files[0].member == files[0].name and files[0].source.is_dir():
        return FileRecords(files[0].source, [file.member for file in files], labels, contents)
    return ZipRecords([(file.source, file.member) for file in files], labels, contents)


def _say_what_is_missing(labels: Sequence[int | None], classes: Sequence[str], where: str, splits: int) -> None:
    there = set(labels)
    missing = [name for label, name in enumerate(classes) if label not in there] if splits > 1 else []
    if missing:
        listed = ", ".join(missing[:_NAMED]) + (", ..." if len(missing) > _NAMED else "")
        logging.warning("%s has no images of %d of %d classes: %s", where, len(missing), len(classes), listed)


@functools.cache
def _say_once(line: str) -> None:
    """A set is opened several times."""
    logging.info("%s", line)


def whole_set(splits: Mapping[str, EncodedImages], where: str) -> EncodedImages:
    """The images of a source that has no splits. Raises DataError if it has some."""
    if [*splits] != [TRAIN]:
        raise DataError(f"{where} has the splits {', '.join(splits)}: pass one of them")
    return splits[TRAIN]
