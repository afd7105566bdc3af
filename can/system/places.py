"""Where checkpoints lie: in a folder, or in a Google Cloud Storage bucket, named gs://BUCKET/PATH.

A folder is a `pathlib.Path`, a bucket an `etils.epath.Path`, which has its methods. What differs between the two is in
this file: how a checkpoint is marked as whole, and what keeps a bucket from being reached.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import logging
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import fsspec
from etils import epath

from can.errors import ConfigError, UserError, first_line
from can.system.files import write_atomic, write_error

Place: TypeAlias = Path | epath.Path

_WHOLE = "commit_success.txt"  # orbax's; in a bucket it is written last
_BUCKET = re.compile(r"gs://[a-z0-9][a-z0-9._-]+[a-z0-9](/[^\[\]*?#\\]*)?")

# What the libraries say of a bucket that cannot be used: tensorstore's codes, gcsfs's words, both with HTTP's numbers.
_CAUSES = (
    (
        r"UNAUTHENTICATED|[Cc]redentials|='401'|, 401$|^401 ",
        "nobody is logged in",
        "run `gcloud auth application-default login`, or start it under a service account",
    ),
    (
        r"PERMISSION_DENIED|^Forbidden|='403'|, 403$|^403 ",
        "it is not allowed",
        "give this account the roles Storage Object User and Storage Legacy Bucket Reader",
    ),
    (r"NOT_FOUND|='404'|^404 ", "there is no such bucket", "make it, or name another one with --checkpoints"),
    (
        r"UNAVAILABLE|DEADLINE_EXCEEDED|RESOURCE_EXHAUSTED|ABORTED|CANCELLED|INTERNAL",
        "it does not answer",
        "check the network and start the same command again",
    ),
)


def place(name: str | Place) -> Place:
    """The folder or bucket of this name. Raises ConfigError for a bucket that cannot be, or without gcsfs."""
    text = str(name)
    if not re.match(r"\w+://", text):
        return Path(name).resolve()
    if not _BUCKET.fullmatch(text):
        raise ConfigError(f"{text} is no bucket to keep checkpoints in: write gs://BUCKET/PATH, without []*?#\\")
    if importlib.util.find_spec("gcsfs") is None:
        raise ConfigError(f"{text} needs gcsfs: install it with `pip install -e '.[gcs]'`")
    # Tensorstore and other hosts write files, of which a kept listing would not know.
    fsspec.config.conf.setdefault("gcs", {})["use_listings_cache"] = False
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it logs the tracebacks of errors that it also raises
    return epath.Path(text)


def folder(name: str) -> Path:
    """The folder of this machine that a user names; a shell leaves the `~` of `--data_dir=~/data` to us.

    Raises ValueError for no path, a home that nobody has, and a bucket, which would be a folder called `gs:`.
    """
    if not name or "\0" in name:
        raise ValueError("a folder must have a name")
    if "://" in name:
        raise ValueError(f"{name} is no folder of this machine; only --checkpoints may lie in a bucket")
    try:
        return Path(name).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{error}: write the folder out") from error


def is_bucket(where: Place) -> bool:
    """Whether a place is a bucket."""
    return str(where).startswith("gs://")


def steps_in(where: Place) -> list[int]:
    """The steps of the complete checkpoints, ascending.

    Orbax renames a folder to its step once it is whole. In a bucket nothing can be renamed: it writes a last file.
    """
    with reached(where):
        if is_bucket(where):
            names = [path.parent.name for path in where.glob(f"*/{_WHOLE}")]
        else:
            names = [path.name for path in where.iterdir() if path.is_dir()] if where.is_dir() else []
    return sorted(int(name) for name in names if name.isdecimal())


def files_in_folders_of(where: Place) -> list[str]:
    """The names, with / in them, of the files in the folders inside a place, however deep; sorted."""
    if isinstance(where, Path):
        return sorted(path.relative_to(where).as_posix() for path in where.glob("*/**/*") if path.is_file())
    # One listing. To walk from folder to folder would leave out, in silence, those that may not be read.
    files, root = fsspec.url_to_fs(str(where))
    names = [str(path).removeprefix(f"{root}/") for path in files.find(root)]
    return sorted(name for name in names if "/" in name)


def remove(where: Place) -> None:
    """Deletes what is in a place, and the place; harmless if it is not there."""
    with reached(where):
        if isinstance(where, Path) and (where.is_symlink() or where.is_file()):
            where.unlink()  # of a link, what it leads to stays
        else:
            epath.Path(where).rmtree(missing_ok=True)


def is_in_the_way(where: Place) -> bool:
    """Whether something other than a folder has a folder's place: a file, or a link that leads nowhere."""
    return isinstance(where, Path) and (where.is_symlink() or where.exists()) and not where.is_dir()


def replace_link(where: Place) -> None:
    """Puts a copy of what a link to a folder leads to in its place; other places stay as they are."""
    if not (isinstance(where, Path) and where.is_symlink()):
        return
    part = where.with_name(f".{where.name}.copy")
    try:
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(where, part)
        where.unlink()
        part.rename(where)
    except OSError as error:
        raise write_error(where, error) from error


def set_aside(where: Place) -> None:
    """Gives a place another name beside its own, under which nobody looks for it."""
    others = (where.parent / f"{where.name}.other{number}" for number in itertools.count())
    with reached(where):
        where.rename(next(other for other in others if not other.exists()))


def write_text(where: Place, text: str) -> None:
    """Replaces a file: readers see the old one or the new one. Raises UserError if it cannot be written."""
    if isinstance(where, Path):
        write_atomic(where, text)
        return
    with reached(where):
        where.write_text(text)


def failures(where: Place) -> tuple[type[Exception], ...]:
    """The exceptions of a place that cannot be read or written; some of them may be about other things."""
    if not is_bucket(where):
        return OSError, ValueError
    from aiohttp import ClientError
    from gcsfs.retry import HttpError
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError

    return OSError, ValueError, ClientError, HttpError, GoogleAPIError, GoogleAuthError


def access_error(where: Place, error: Exception, *, found: bool = False) -> UserError | None:
    """The line to show if `error` says that a bucket cannot be used; None if it is about something else, or a folder.

    `found`: the bucket is there, so that what is missing is a file in it.
    """
    if not is_bucket(where) or not isinstance(error, failures(where)):
        return None
    missing = isinstance(error, FileNotFoundError) or "NOT_FOUND" in str(error)
    if found and missing:
        return None
    text = "NOT_FOUND" if missing else str(error)
    which = next((each for each in _CAUSES if re.search(each[0], text)), None)
    if which is None and isinstance(error, ValueError):
        return None
    _, cause, remedy = which or _CAUSES[-1]
    return UserError(f"cannot use {where}: {cause} ({first_line(error)}): {remedy}")


@contextlib.contextmanager
def reached(where: Place) -> Iterator[None]:
    """Raises UserError, with what to do, if a bucket that is used inside cannot be."""
    try:
        yield
    except failures(where) as error:
        if told := access_error(where, error):
            raise told from error
        raise
