"""Everything that the scripts of this folder declare: what all tables and figures need together."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence

import experiments
from can.commands import COMMANDS
from can.commands.spec import Need, Spec


def all_needs() -> tuple[Need, ...]:
    """Each spec that some script's NEEDS has, once, with every evaluation that is asked of it."""
    evals: dict[Spec, dict[str, None]] = {}
    for needs in declarations().values():
        for need in needs:
            evals.setdefault(need.spec, {}).update(dict.fromkeys(need.evals))
    return tuple(Need(spec, tuple(names)) for spec, names in evals.items())


def declarations() -> dict[str, Sequence[Need]]:
    """The NEEDS of each script that has some, by the script's name."""
    found = {}
    for script in pkgutil.iter_modules(experiments.__path__):
        if not script.ispkg and script.name not in COMMANDS:  # which make no table, and whose imports take a while
            needs = getattr(importlib.import_module(f"experiments.{script.name}"), "NEEDS", None)
            if needs is not None:
                found[script.name] = needs
    return found
