"""What an evaluation's file says: its numbers, and everything that they depend on."""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from jaxtyping import Bool, Float

from can.errors import ConfigError, DataError
from can.runs.name import differences
from can.system.files import read_json, write_json

_MOST = 1_000_000_000  # of any number that is measured here, and of test images


class _Number(TypedDict):
    metric: str  # "top1", ...
    value: float
    n: int  # test images
    seed: int


class EvalRecord(_Number, total=False):
    """One number of one evaluation."""

    correct: str  # which test images were right, in the set's order, by `pack_correct`
    short_classes: int  # of few-shot classification: how many classes have fewer images than shots, if any
    choices: int  # how often each image was judged, where `value` is the mean of that many accuracies


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
            for what in ("protocol", "fingerprints", "provenance"):
                if not isinstance(getattr(evaluated, what), dict):
                    raise ValueError(f"{what} is no object")
            if not all(isinstance(value, str) for value in evaluated.fingerprints.values()):
                raise ValueError("fingerprints must be texts")
            check_records(evaluated.records)
        except (TypeError, ValueError) as error:
            raise DataError(f"{path} is damaged ({error}): restore it, or delete it and evaluate again") from error
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


def pack_correct(correct: Bool[np.ndarray, "*choices n"]) -> str:
    """Which test images were right, each time they were judged, as text: a bit an image and time, in base64."""
    return base64.b64encode(np.packbits(correct).tobytes()).decode()


def unpack_correct(packed: str, n: int) -> Bool[np.ndarray, " n"]:
    """The inverse of `pack_correct` for `n` images."""
    return np.unpackbits(np.frombuffer(base64.b64decode(packed), np.uint8), count=n).astype(bool)


def correct_of(record: EvalRecord) -> Float[np.ndarray, " n"] | None:
    """How often each test image was right, in [0, 1]; None if the record does not say."""
    if "correct" not in record:
        return None
    choices, n = record.get("choices", 1), record["n"]
    return unpack_correct(record["correct"], choices * n).reshape(choices, n).mean(0)


def check_records(records: Any) -> None:
    """Raises ValueError unless these are records, each of another metric, of values that can be measured."""
    if not isinstance(records, list) or not records:
        raise ValueError("not a list of records")
    needed, optional = EvalRecord.__required_keys__, EvalRecord.__optional_keys__
    seen: set[str] = set()
    for entry in records:
        if not isinstance(entry, dict) or not needed <= set(entry) <= needed | optional:
            raise ValueError(f"a record must have the keys {', '.join(sorted(needed))}: {entry!r}")
        metric, value, n = entry["metric"], entry["value"], entry["n"]
        if not isinstance(metric, str) or not metric:
            raise ValueError(f"metric must be a name, not {metric!r}")
        if metric in seen:
            raise ValueError(f"{metric} stands twice")
        seen.add(metric)
        least, most = _limits(metric)
        if not _is_number(value) or not least <= value <= most:
            raise ValueError(f"the value of {metric} must lie in [{least:g}, {most:g}], not {value!r}")
        if not _is_count(n):
            raise ValueError(f"n must count test images, not {n!r}")
        if not isinstance(entry["seed"], int) or isinstance(entry["seed"], bool) or entry["seed"] < 0:
            raise ValueError(f"seed must be an integer from 0 on, not {entry['seed']!r}")
        choices = entry.get("choices", 1)
        if not _is_count(choices):
            raise ValueError(f"choices must count how often each image was judged, not {choices!r}")
        if not _is_count(entry.get("short_classes", 1)):
            raise ValueError(f"short_classes must count classes, not {entry['short_classes']!r}")
        if "correct" in entry:
            check_correct(entry["correct"], value, n * choices)


def _limits(metric: str) -> tuple[float, float]:
    """Between what a metric lies: shares and correlations by their nature, others are not negative."""
    if metric.endswith("_correlation"):
        return -1.0, 1.0
    return 0.0, 1.0 if is_share(metric) else _MOST


def is_share(metric: str) -> bool:
    """Whether a metric is a share of images, or the standard deviation of such shares."""
    return re.fullmatch(r"(train_)?top\d+(_\w+)?|chance|\d+shot(_sd)?", metric.rpartition("/")[2]) is not None


def check_correct(packed: Any, share: float, n: int) -> None:
    """Raises ValueError unless these are so many images as `share` of `n`."""
    if not isinstance(packed, str):
        raise ValueError("correct must be a text")
    try:
        data = base64.b64decode(packed, validate=True)
    except binascii.Error as error:
        raise ValueError(f"correct is no base64: {error}") from error
    if len(data) != -(-n // 8):
        raise ValueError(f"correct is of {8 * len(data)} images or some less, not of {n}")
    right = int(unpack_correct(packed, n).sum())
    if abs(right - share * n) > 0.5:
        raise ValueError(f"{right} of {n} images are marked as right, which is no share of {share!r}")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MOST


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
