"""Axes of the length of pre-training: images that were seen, or floating-point operations that were spent."""

from __future__ import annotations

from collections.abc import Iterable

from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, LogLocator, NullLocator


def images(axes: Axes, seen: Iterable[float]) -> None:
    """The x axis counts images, with a tick at each of the lengths that are drawn."""
    axes.set_xscale("log")
    axes.set_xticks(sorted(set(seen)), minor=False)
    axes.xaxis.set_major_formatter(lambda count, _: short(count))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("images seen in pre-training")


def flops(axes: Axes) -> None:
    """The x axis counts floating-point operations."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(EngFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("FLOPs of pre-training")


def short(count: float) -> str:
    """`1.0 bn`, `47 k` or `48`."""
    for unit, name, digits in ((1e9, " bn", 1), (1e3, " k", 0)):
        if count >= unit:
            return f"{count / unit:.{digits}f}{name}"
    return f"{count:.0f}"
