"""Every table and figure of what is measured at a scale: `python analysis/make_all.py [--scale=...]`.

Writes them into `results/<scale>/` and prints what was made, the scoreboard's count, and how many of the reader's
numbers are the published ones. What lacks results is named, with the command that makes them. Trains nothing.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

import importlib
import pkgutil
from typing import Any

import analysis
from analysis import verify
from analysis.lib import captions
from analysis.lib.command import run
from can.commands.setting import Setting
from can.errors import DataError


def tables() -> dict[str, Any]:
    """The modules of this folder that make a table or figure of declared runs, which have NEEDS and `render`."""
    found = {}
    for script in pkgutil.iter_modules(analysis.__path__):
        if script.name.startswith("make_"):
            module = importlib.import_module(f"analysis.{script.name}")
            if hasattr(module, "NEEDS"):
                found[script.name] = module
    return found


def render(setting: Setting, *, brief: bool = False) -> str:
    """Makes everything, and returns what was made and what was not; only how many numbers agree if `brief`.

    Raises DataError if a file of the results is damaged.
    """
    if brief:
        return verify.render(setting, brief=True)
    others = tables()
    counts = others.pop("make_claims").render(setting, brief=True)  # writes all of it
    made, not_made = ["make_claims"], []
    for name, module in others.items():
        try:
            module.render(setting)
            made.append(name)
        except DataError as error:
            not_made.append(f"`analysis/{name}.py`: {error}")
    lines = [captions.title("Every table and figure", setting), f"In {setting.results_dir / setting.scale.name}:"]
    lines += [captions.bullets(f"`python analysis/{name}.py`" for name in made)]
    lines += ["Not made:", captions.bullets(not_made)] if not_made else []
    return "\n\n".join([*lines, counts.strip(), verify.render(setting, brief=True).strip()]) + "\n"


if __name__ == "__main__":
    run(render)
