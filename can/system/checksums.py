"""Checksums of the files in a folder, in the format of `sha256sum`: `sha256sum -c SHA256SUMS` checks them by hand."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from concurrent.futures import ThreadPoolExecutor

from can.system.places import Place, files_in_folders_of

FILE = "SHA256SUMS"

_LITTER = frozenset({".ds_store", ".directory", "thumbs.db", "ehthumbs.db", "desktop.ini"})
_LITTER_STARTS = ("._", ".nfs", ".fuse_hidden", ".goutputstream", ".smbdelete")
_THREADS = 4  # each hashes about 1 GB a second; the interpreter's lock is free meanwhile


def write_checksums(folder: Place) -> None:
    """Writes the checksum of every file in the folders inside `folder` to its `SHA256SUMS`, and waits for the disk.

    Raises OSError if the disk is full.
    """
    lines = [f"{checksum}  {name}\n" for name, checksum in _checksums(folder).items()]
    with (folder / FILE).open("w") as file:
        file.writelines(lines)
        file.flush()
        with contextlib.suppress(io.UnsupportedOperation):  # a bucket's: it is there for good when it is closed
            os.fsync(file.fileno())


def find_damage(folder: Place) -> str | None:
    """What of `folder` differs from its `SHA256SUMS`, in words; None if nothing does, or if it has no such file."""
    try:
        lines = (folder / FILE).read_bytes().decode().splitlines()
    except FileNotFoundError:
        return None
    except ValueError:
        return f"{FILE} cannot be read"
    expected = {name: checksum for checksum, _, name in (line.partition("  ") for line in lines)}
    found = {name: sum_ for name, sum_ in _checksums(folder).items() if name in expected or not is_litter(name)}
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            return f"{name} is missing"
        if name not in expected:
            return f"{name} is not in {FILE}"
        if found[name] != expected[name]:
            return f"{name} is not what was written"
    return None


def is_litter(name: str) -> bool:
    """Whether a file, by its path, is one that file managers and file systems leave anywhere: it says nothing."""
    last = name.rpartition("/")[2]
    return last.startswith(_LITTER_STARTS) or last.lower() in _LITTER


def _checksums(folder: Place) -> dict[str, str]:
    names = files_in_folders_of(folder)
    with ThreadPoolExecutor(_THREADS) as threads:
        return dict(zip(names, threads.map(lambda name: checksum_of(folder / name), names), strict=True))


def checksum_of(path: Place) -> str:
    """Hexadecimal sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
