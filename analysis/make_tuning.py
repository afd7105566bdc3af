"""What was tried before the laptop scale was fixed, and what was chosen: `python analysis/make_tuning.py`.

`experiments/tune_laptop.py` declares the trials. Prints a table a stage, published and the reader's own, and writes
`tuning.md` and `tuning.csv` into `results/tuning/laptop/`. Trains nothing.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.lib import paper_table
from analysis.lib.documents import Page, to_csv, to_markdown
from analysis.lib.results import PUBLISHED, YOURS
from can.commands import cli, flags
from can.commands.evaluations import EVALS
from can.commands.evaluations.finetune import Finetune
from can.commands.methods import METHODS, preset
from can.commands.scales import Scale, scale_named
from can.commands.setting import Setting
from can.commands.spec import Need, resolve
from can.config import RunConfig
from can.errors import DataError
from can.runs import RunDir
from experiments import tune_laptop
from experiments.tune_laptop import STAGES, Stage

METRIC = "top1"
MEAN = "mean of the methods"
GAIN = "their mean, less untrained"
UNTRAINED = "random"


Runs = dict[RunConfig, list[RunDir]]  # by their configurations with the seed 0


class Choice(NamedTuple):
    """What the trials of a stage say: the best choice of a method, or of all of them together."""

    method: str  # a method's name, or MEAN
    best: str  # a key of the stage's trials


def render(setting: Setting, *, brief: bool = False) -> str:
    """Writes the page of all stages beside the reader's trials and returns it, or nothing but its title if `brief`.

    Raises DataError if the trials of a stage were not all judged alike.
    """
    made, numbers = page(setting)
    made.write(setting, "tuning", numbers)
    return made.title if brief else made.text


def page(setting: Setting) -> tuple[Page, pd.DataFrame]:
    """All stages as text, and a line a trial. Raises DataError as `render` does."""
    made = Page(f"# What the scale `{setting.scale.name}` was chosen by")
    made.add(
        "Top-1 in % on held-out training images, of a linear probe where nothing else is said, mean ± standard "
        "deviation (seeds). The test set is not read. What is chosen is in bold."
    )
    frames = []
    runs = {source: by_config(folder) for source, folder in _folders(setting).items()}
    for name, stage in STAGES.items():
        made.add(f"## {stage.title}")
        found = {source: trials(stage, there, setting) for source, there in runs.items()}
        there = {source: frame for source, frame in found.items() if not frame.empty}
        for source, frame in there.items():
            made.add(f"{source.capitalize()}:" if len(found) > 1 else "")
            made.add(to_markdown(table(stage, frame)))
            made.add(sentence(stage, frame))
            frames.append(frame.assign(stage=name, source=source))
        if not there:
            made.add(f"Not tried: `bash experiments/tune_laptop.sh --stages={name}`")
    return made, pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def files(published: Path) -> dict[Path, str]:
    """The page of the published trials and their numbers, where they stand."""
    folder = published / "tuning"
    setting = Setting(scale_named(tune_laptop.SCALE), results_dir=folder, published_dir=folder)
    made, numbers = page(setting)
    return {
        folder / tune_laptop.SCALE / "tuning.md": made.text,
        folder / tune_laptop.SCALE / "tuning.csv": to_csv(numbers),
    }


def by_config(folder: Path) -> Runs:
    """The evaluated trials below a folder, whatever they are called."""
    there: Runs = {}
    for path in sorted(folder.glob("*/config.json")):
        run = RunDir(folder.parent, folder.parent, folder.name, path.parent.name)
        if any(path.parent.glob("eval-*.json")):
            there.setdefault(dataclasses.replace(run.config, seed=0), []).append(run)
    return there


def runs_of(need: Need, there: Runs, scale: Scale) -> list[RunDir]:
    """The runs of a trial that are judged, one a seed: of several, such as copies, the first."""
    (judge,) = need.evals
    first: dict[int, RunDir] = {}
    for run in there.get(resolve(scale, need.spec, 0), ()):
        if run.has_eval(judge):
            first.setdefault(run.config.seed, run)
    return list(first.values())


def trials(stage: Stage, there: Runs, setting: Setting) -> pd.DataFrame:
    """A line a finished trial of a stage: `choice`, `method`, `seed`, `images`, `held_out`, `top1` (%).

    Trials are found by their whole configuration. Raises DataError if not all were judged alike, or if one has no such
    number.
    """
    lines = []
    protocols = set()
    for choice, needs in stage.trials.items():
        for need in needs:
            (judge,) = need.evals
            for run in runs_of(need, there, setting.scale):
                evaluated = run.read_eval(judge)
                protocols.add(json.dumps(_shared(evaluated.protocol, judge), sort_keys=True))
                optim = run.config.optim
                values = [record["value"] for record in evaluated.records if record["metric"] == METRIC]
                if not values or "test" not in evaluated.protocol:
                    raise DataError(
                        f"{run.eval_path(judge)} is damaged (it has no {METRIC} of a test set): restore or delete it"
                    )
                lines.append(
                    dict(
                        choice=choice,
                        method=need.spec.method,
                        seed=run.config.seed,
                        images=optim.total_steps * optim.batch_size,
                        held_out=evaluated.protocol["test"],
                        top1=100 * values[0],
                    )
                )
    if len(protocols) > 1:
        raise DataError(f"the trials of {stage.title!r} were not judged alike: {protocols}")
    return pd.DataFrame(lines)


def _shared(protocol: Mapping[str, Any], judge: str) -> dict[str, Any]:
    """A trial's protocol less what it tries."""
    tried = {"name"} | set(evaluation.changes if isinstance(evaluation := EVALS[judge], Finetune) else ())
    return {name: value for name, value in protocol.items() if name not in tried}


def finished(folder: Path) -> dict[RunDir, list[str]]:
    """The trials below a folder that some stage asks for, each with the evaluations that judge it."""
    scale, there = scale_named(tune_laptop.SCALE), by_config(folder)
    found: dict[RunDir, list[str]] = {}
    for need in dict.fromkeys(need for stage in STAGES.values() for need in stage.needs):
        for run in runs_of(need, there, scale):
            found.setdefault(run, []).extend(need.evals)
    return found


def choices(stage: Stage, found: pd.DataFrame) -> list[Choice]:
    """What is chosen: what the rule finds, unless the scale keeps another choice."""
    return [choice._replace(best=stage.kept or choice.best) for choice in by_rule(stage, found)]


def by_rule(stage: Stage, found: pd.DataFrame) -> list[Choice]:
    """The best choice of each method, or of all together, among the choices that every one of them has tried."""
    means = _means(found)
    if stage.by_method:
        return [Choice(method, means.loc[method].idxmax()) for method in means.index if method in METHODS]
    overall = means.loc[GAIN if stage.by_gain else MEAN].dropna()
    return [Choice(MEAN, overall.idxmax())] if len(overall) else []


def table(stage: Stage, found: pd.DataFrame) -> pd.DataFrame:
    """A row a method, and the mean where one choice is made for all; a column a choice; the chosen in bold."""
    best = {choice.method: choice.best for choice in choices(stage, found)}
    means = _means(found)
    hidden = {GAIN: not (stage.by_gain or stage.kept), MEAN: stage.by_method or len(means.index) == 3}
    lines = []
    for method in means.index:
        if hidden.get(method):
            continue
        line = {"held-out top-1, %": METHODS[method].title if method in METHODS else method}
        for choice in means.columns:
            runs = found[(found["method"] == method) & (found["choice"] == choice)]["top1"]
            mean = means.loc[method, choice]
            text = None if pd.isna(mean) else f"{mean:.1f}" if runs.empty else _score(runs)
            chosen = best.get(method, best.get(MEAN)) == choice
            line[choice] = f"**{text}**" if text and chosen else text
        lines.append(line)
    return pd.DataFrame(lines)


def sentence(stage: Stage, found: pd.DataFrame) -> str:
    """What was chosen, by which rule, and what that finds if it is not what was chosen."""
    chosen, best = (_listed(of) for of in (choices(stage, found), by_rule(stage, found)))
    if not chosen:
        return f"Nothing can be chosen yet. {stage.rule}"
    instead = f"; by the rule it would be {best}" if best != chosen else ""
    return f"Chosen: {chosen}{instead}. {stage.rule}"


def _listed(chosen: Sequence[Choice]) -> str:
    return ", ".join(
        choice.best if choice.method == MEAN else f"{METHODS[choice.method].title} {choice.best}" for choice in chosen
    )


def _means(found: pd.DataFrame) -> pd.DataFrame:
    """A row a method, MEAN and GAIN of those that have the choice; a column a choice, in the order of the trials."""
    order = list(dict.fromkeys(found["choice"]))
    means = found.pivot_table(index="method", columns="choice", values="top1", aggfunc="mean")[order]
    means = means.loc[[method for method in METHODS if method in means.index]]
    trained = means.loc[_trained(means)].mean(skipna=False)
    untrained = means.loc[UNTRAINED] if UNTRAINED in means.index else np.nan
    means.loc[MEAN], means.loc[GAIN] = trained, trained - untrained
    return means


def _trained(means: pd.DataFrame) -> list[str]:
    return [method for method in means.index if method in METHODS and preset(method).trains]


def _score(runs: pd.Series) -> str:
    return paper_table.score(runs.mean(), runs.std() if len(runs) > 1 else None, len(runs))


def _folders(setting: Setting) -> dict[str, Path]:
    """Where trials are, by whose they are; where the published page is remade both are one folder."""
    folders = {setting.results_dir.resolve(): YOURS, setting.published_dir.resolve(): PUBLISHED}
    return {source: folder / setting.scale.name for folder, source in reversed(folders.items())}


def main() -> None:
    """Prints the page of the setting that the flags describe."""
    print(render(flags.setting()), end="")


if __name__ == "__main__":
    flags.define_setting_flags()
    tune_laptop.set_defaults()
    cli.run(main)
