"""How many images were read, kept and dropped, and why: exact numbers that add up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from can.recipes.web_images.looks import REASONS

FILE = "dropped.json"  # beside the set's records


def tally(
    counts: Mapping[str, int], shards: int, cut: Mapping[str, str], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """What `dropped.json` holds.

    Args:
      counts: by reason, "kept" and, counted where shards are read, "read"; what is not there is 0.
      shards: how many there are.
      cut: of the shards that could not be read to their end, by name, why.
      settings: with which the set is made.
    """
    return {
        "read": counts.get("read", 0),
        "kept": counts.get("kept", 0),
        "dropped": {reason: counts.get(reason, 0) for reason in REASONS},
        "shards": shards,
        "cut_shards": dict(sorted(cut.items())),
        "settings": dict(settings),
    }


def shown(found: Mapping[str, Any]) -> str:
    """`dropped.json` as a table of text, with the shards that were cut."""
    rows = [("read", found["read"]), *found["dropped"].items(), ("kept", found["kept"])]
    lines = [f"{name:<15}{count:>15,}{_share(count, found['read'])}" for name, count in rows]
    cut = [f"cut short, read up to there: {name} ({why})" for name, why in found["cut_shards"].items()]
    return "\n".join([*lines, *cut])


def _share(count: int, whole: int) -> str:
    return f"{count / whole:>8.1%}" if whole else ""
