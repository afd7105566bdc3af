"""Files that appear whole or not at all, whatever stops the process."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

from etils import epath

from can.errors import DataError, UserError
from can.system import hosts

# What a full disk, an exhausted quota and a file-size limit (`ulimit -f`) are called by the operating system.
DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# A name that is too long, a file or a loop of links in the place of a folder, a system of files to read alone.
_NO_PLACE = frozenset({errno.ENAMETOOLONG, errno.ENOTDIR, errno.EEXIST, errno.ELOOP, errno.EROFS})


def write_error(path: Path, error: OSError) -> UserError:
    """The UserError to raise when `path` could not be written: says why, what became of the old file, what to do."""
    if error.errno in DISK_FULL:
        cause, remedy = f"the disk is full ({error.strerror})", "free some space"
    else:
        cause = error.strerror or str(error)
        remedy = "name another place" if error.errno in _NO_PLACE else "make that place writable"
    return UserError(
        f"cannot write {path}: {cause}; what was there before is unchanged: {remedy} and start the same command again"
    )


def write_atomic(path: Path, content: str | bytes) -> None:
    """Replaces `path` by `content`: readers and a crash see the old file or the new one, never a part.

    The parent folder is made if needed. Of several processes that make a run together, the first alone writes. Raises
    UserError if the disk is full or the place not writable; the old file, if any, is then intact.
    """
    if not hosts.is_first():
        return
    data = content.encode() if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, data)
    except OSError as error:
        raise write_error(path, error) from error


def write_json(path: Path, value: Any) -> None:
    """`write_atomic` of `value` as JSON, indented, non-finite numbers refused (they are not JSON)."""
    write_atomic(path, json_of(value))


def json_of(value: Any) -> str:
    """What `write_json` writes."""
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def read_json(path: Path | epath.Path) -> Any:
    """The value in a JSON file. Raises DataError if it is damaged, no regular file, or cannot be read."""
    if path.exists() and not path.is_file():  # a pipe would never end
        raise DataError(f"{path} is no file: restore it or delete it, then start again")
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse, object_pairs_hook=_without_twins)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}): restore it or delete it, then start again"
        ) from error
    except (ValueError, RecursionError) as error:  # undecodable bytes and malformed JSON alike
        raise DataError(f"{path} is damaged ({error}): restore it or delete it, then start again") from error


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no number")


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, in which no name may stand twice: one of the two would be dropped in silence."""
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a name stands twice")
    return values


def _replace(path: Path, data: bytes) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Makes a rename inside `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems cannot sync folders
            raise
    finally:
        os.close(descriptor)
