"""What an evaluation's file says: its numbers, and everything that they depend on."""

from __future__ import annotations

import base64
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from jaxtyping import Bool

from can.errors import ConfigError, DataError
from can.files import read_json, write_json
from can.runs.name import differences


class _Number(TypedDict):
    metric: str  # "top1", ...
    value: float
    n: int  # test images
    seed: int


class EvalRecord(_Number, total=False):
    """One number of one evaluation."""

    correct: str  # which test images were right, in the set's order, by `pack_correct`


@dataclass(frozen=True)
class Evaluated:
    """One evaluation of one run.

    Attributes:
      protocol: every setting that the numbers depend on, as plain JSON values.
      fingerprints: of the encoder's weights and of every set of images that was read, by name.
      provenance: the code, libraries and machine that made the numbers; see `can.runs.provenance`.
      records: the numbers.
    """

    protocol: dict[str, Any]
    fingerprints: dict[str, str]
    provenance: dict[str, Any]
    records: list[EvalRecord]

    def write(self, path: Path) -> None:
        """Writes the file, whole or not at all. Raises ValueError on records of another form."""
        check_records(self.records)
        write_json(path, self.__dict__)

    @classmethod
    def read(cls, path: Path) -> Evaluated:
        """The inverse of `write`. Raises DataError if the file is damaged."""
        values = read_json(path)
        try:
            evaluated = cls(**values)
            check_records(evaluated.records)
        except (TypeError, ValueError) as error:
            raise DataError(f"{path} is damaged ({error}): delete it and evaluate again") from error
        return evaluated

    def differs(self, protocol: dict[str, Any], fingerprints: dict[str, str] | None = None) -> str:
        """How this differs from what is asked for, a line a field; empty if it does not.

        `fingerprints`: None compares the protocol alone.
        """
        asked = json.loads(json.dumps(protocol))
        lines = [differences(self.protocol, asked)]
        if fingerprints is not None:
            lines.append(differences(self.fingerprints, fingerprints))
        return "\n".join(filter(None, lines))

    def check_is(self, name: str, path: Path, protocol: dict[str, Any], fingerprints: dict[str, str] | None) -> None:
        """Raises ConfigError, with the differences, unless this is the evaluation that is asked for."""
        if lines := self.differs(protocol, fingerprints):
            raise ConfigError(
                f"{path} was made otherwise than is asked for now:\n{lines}\n"
                f"pass --force={name} to make it anew, or another --results_dir to keep both"
            )


def pack_correct(correct: Bool[np.ndarray, " n"]) -> str:
    """Which test images were right, as text: a bit an image, in base64."""
    return base64.b64encode(np.packbits(correct).tobytes()).decode()


def unpack_correct(packed: str, n: int) -> Bool[np.ndarray, " n"]:
    """The inverse of `pack_correct` for `n` images."""
    return np.unpackbits(np.frombuffer(base64.b64decode(packed), np.uint8), count=n).astype(bool)


def check_records(records: Any) -> None:
    """Raises ValueError unless these are records, and finite ones."""
    if not isinstance(records, list) or not records:
        raise ValueError("not a list of records")
    needed, optional = EvalRecord.__required_keys__, EvalRecord.__optional_keys__
    for entry in records:
        if not isinstance(entry, dict) or not needed <= set(entry) <= needed | optional:
            raise ValueError(f"a record must have the keys {', '.join(sorted(needed))}: {entry!r}")
        if not isinstance(entry["metric"], str) or not entry["metric"]:
            raise ValueError(f"metric must be a name, not {entry['metric']!r}")
        if not isinstance(entry["value"], int | float) or not math.isfinite(entry["value"]):
            raise ValueError(f"value must be a finite number, not {entry['value']!r}")
        if not isinstance(entry["n"], int) or entry["n"] < 1:
            raise ValueError(f"n must count test images, not {entry['n']!r}")
        if not isinstance(entry["seed"], int):
            raise ValueError(f"seed must be an integer, not {entry['seed']!r}")
