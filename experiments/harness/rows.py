"""What `--rows` calls the rows of a table."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from can.commands.spec import Need, Spec
from can.errors import ConfigError


def matching(needs: Sequence[Need], rows: Sequence[str]) -> list[Need]:
    """The needs that `rows` name: a full name (`can/vit_l/800/jft`) is that one, a beginning all that have it.

    A name without its data is a beginning, too. Raises ConfigError if a row matches none.
    """
    for row in rows:
        if not any(_matches(need.spec, row, needs) for need in needs):
            names = [str(need.spec) for need in needs]
            near = difflib.get_close_matches(row, names, n=1, cutoff=0.3)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(f"no row {row!r}{hint} (rows: {', '.join(names)})")
    return [need for need in needs if not rows or any(_matches(need.spec, row, needs) for row in rows)]


def row_name(spec: Spec, needs: Sequence[Need]) -> str:
    """What `--rows` takes for this row of the needs and no other: without the data, where that is enough."""
    found = {need.spec for need in needs if _matches(need.spec, str(spec), needs)}
    return str(spec) if found == {spec} else spec.full


def _matches(spec: Spec, row: str, needs: Sequence[Need]) -> bool:
    if any(need.spec.full == row for need in needs):
        return spec.full == row
    return any(f"{name}/".startswith(f"{row}/") for name in (str(spec), spec.full))
