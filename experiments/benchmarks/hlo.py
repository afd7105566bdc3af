"""The collective operations of a compiled program, and the bytes that each device sends for them.

XLA's text of a program (HLO) has a computation per loop body, and says how often a loop with a fixed end is passed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

SIZES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2, "f32": 4, "s32": 4, "u32": 4}
SIZES |= {"f64": 8, "s64": 8, "u64": 8, "c64": 8}
KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
_OPERATION = re.compile(rf"= (.+?) ({'|'.join(KINDS)})(?:-start)?\((.*)")
_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\{$")
_LOOP = re.compile(r" while\(.*body=%?([\w.\-]+)")
_CALL = re.compile(
    r"(?:to_apply|calls|true_computation|false_computation)=%?([\w.\-]+)|branch_computations=\{([^}]*)\}"
)
_TIMES = re.compile(r'known_trip_count"?:\{"n":"(\d+)"')


class Sent(NamedTuple):
    """What one device sends in one run of a program."""

    operations: int
    bytes: float


def collectives(program: str) -> dict[str, Sent]:
    """By kind of collective operation, how many a device takes part in and what it sends, in rings.

    In a ring of n devices, an all-reduce of S bytes sends 2 S (n - 1) / n, an all-gather to S bytes or a reduce-scatter
    or an all-to-all of S bytes sends S (n - 1) / n; a permutation sends all of it. Raises ValueError for a loop whose
    end is not fixed and that has such operations.
    """
    bodies = _computations(program)
    entry = next(name for name, (is_entry, _) in bodies.items() if is_entry)
    found: dict[str, Sent] = {}
    for kind, size, times in _walk(bodies, entry, 1):
        before = found.get(kind, Sent(0, 0.0))
        found[kind] = Sent(before.operations + times, before.bytes + size * times)
    return found


def _computations(program: str) -> dict[str, tuple[bool, list[str]]]:
    """By name, whether a computation is the whole program's, and its lines."""
    found: dict[str, tuple[bool, list[str]]] = {}
    lines: list[str] = []
    for line in program.splitlines():
        if begun := _COMPUTATION.match(line):
            lines = []
            found[begun.group(1)] = (line.startswith("ENTRY"), lines)
        else:
            lines.append(line)
    return found


def _walk(bodies: dict[str, tuple[bool, list[str]]], name: str, times: int) -> Iterator[tuple[str, float, int]]:
    """The operations of a computation and of those that it calls: kind, bytes, how often."""
    for line in bodies[name][1]:
        if loop := _LOOP.search(line):
            trips = _TIMES.search(line)
            inner = list(_walk(bodies, loop.group(1), times * int(trips.group(1)) if trips else 0))
            if inner and not trips:
                raise ValueError(f"the loop {loop.group(1)} has collective operations, and its end is not known")
            yield from inner
        elif operation := _OPERATION.search(line):
            shape, kind, rest = operation.groups()
            yield kind, _sent(kind, _bytes(shape), _group(rest)), times
        else:
            for called in _CALL.finditer(line):
                for inner_name in (called.group(1) or called.group(2)).replace("%", "").split(", "):
                    if inner_name in bodies:
                        yield from _walk(bodies, inner_name, times)


def _bytes(shape: str) -> int:
    total = 0
    for kind, dimensions in re.findall(r"(\w+)\[([\d,]*)\]", shape):
        count = 1
        for size in filter(None, dimensions.split(",")):
            count *= int(size)
        total += SIZES[kind] * count
    return total


def _group(rest: str) -> int:
    """How many devices exchange with each other."""
    if mesh := re.search(r"replica_groups=mesh\[([^\]]*)\] \{([^}]*)\}", rest):
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", mesh.group(1)))
        axes = re.findall(r"'(\w+)'(?::\(\d+\)(\d+))?", mesh.group(2))  # a part of an axis has a size of its own
        return math.prod(int(part or sizes[axis]) for axis, part in axes)
    if iota := re.search(r"replica_groups=\[(\d+),(\d+)\]", rest):
        return int(iota.group(2))
    if listed := re.search(r"replica_groups=\{\{([\d,]*)\}", rest):
        return listed.group(1).count(",") + 1
    return 2  # a permutation, which goes from one device to another


def _sent(kind: str, size: int, group: int) -> float:
    share = (group - 1) / group
    if kind == "all-reduce":
        return 2 * size * share
    if kind == "reduce-scatter":  # its result is one device's part
        return size * group * share
    return size if kind == "collective-permute" else size * share
