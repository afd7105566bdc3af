"""Files on any file system that Beam knows: this machine's, buckets, HDFS."""

from __future__ import annotations

import contextlib
import json
import uuid
from pathlib import Path
from typing import Any

from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems


def opened(path: str) -> Any:
    """The file, open for reading, as it is, whatever its ending says. Raises OSError or BeamIOError."""
    return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)


def is_odd(path: str) -> bool:
    """Whether a path of this machine is no regular file: a pipe would never end."""
    return "://" not in path and Path(path).exists() and not (Path(path).is_file() or Path(path).is_dir())


def read_json(path: str) -> Any:
    """The value in a JSON file; None if there is no such file."""
    if not FileSystems.exists(path):
        return None
    with opened(path) as file:
        return json.loads(file.read())


def write_json(path: str, value: Any) -> None:
    """Makes a file that appears whole."""
    part = f"{path}.{uuid.uuid4().hex}"
    with FileSystems.create(part, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        file.write(json.dumps(value, indent=2).encode())
    FileSystems.rename([part], [path])


def make_folder(folder: str) -> None:
    """Makes a folder unless it is there."""
    if not FileSystems.exists(folder):
        with contextlib.suppress(BeamIOError, OSError):  # made meanwhile; else the first write tells
            FileSystems.mkdirs(folder)


def delete(path: str) -> None:
    """Deletes a file or a folder, if it is there."""
    if FileSystems.exists(path):
        FileSystems.delete([path])
