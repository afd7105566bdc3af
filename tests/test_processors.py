"""How far numbers move with the kind of processor stands beside Table 4, and verify names the kinds."""

from __future__ import annotations

from pathlib import Path

import pytest
from invented import add, published, setting

from analysis import make_table4, verify
from analysis.lib import processors
from analysis.lib.results import read
from can.commands.setting import Setting
from can.errors import DataError
from can.runs import RunDir
from can.system.files import read_json, write_json
from experiments.table4_complementarity import NEEDS, RUNS

SIMCLR, MAE, CAN = RUNS


def trained_on(folder: RunDir, model: str, dirty: bool = False) -> None:
    path = folder.results / "provenance.json"
    values = read_json(path)
    write_json(path, values | {"cpu": {"model": model}, "git": values["git"] | {"dirty": dirty}})


@pytest.fixture
def here(tmp_path: Path) -> Setting:
    """CAN on two kinds of processors, SimCLR and MAE on one."""
    where = setting(tmp_path)
    for of, infonce, kind in ((published(where), 2.5742, "Xeon"), (where, 2.5833, "EPYC")):
        trained_on(add(of, CAN, 0, "final_losses", metrics={"infonce": infonce, "denoise": 0.01}), kind)
        trained_on(add(of, SIMCLR, 0, "final_losses", metrics={"infonce": 2 * infonce}), "Xeon")
    trained_on(add(where, MAE, 0, "final_losses", metrics={"reconstruct": 0.5}), "EPYC")  # not published
    return where


def test_runs_on_two_kinds_of_processors_are_compared_and_table_4_says_how_far_they_differ(here: Setting) -> None:
    said = "The kind of processor"
    assert said not in make_table4.render(here)
    assert processors.publish(read(NEEDS, here), here).startswith("compared 2 numbers of 1 runs")
    text = make_table4.render(here)
    assert (
        f"{said}: the same runs (1), made on EPYC instead of Xeon, move InfoNCE by up to 0.0091, Denoising by up to "
        "0.0000." in text
    )
    assert said in make_table4.render(published(here))  # as publish.py makes it


def test_verify_names_the_kinds_of_processors(here: Setting) -> None:
    text = verify.render(here)
    assert "- Published: Xeon." in text and "- Yours: EPYC, Xeon." in text


def test_nothing_is_written_of_one_kind_or_of_changed_sources(here: Setting) -> None:
    own = here.run(CAN, 0).folder
    trained_on(own, "EPYC", dirty=True)
    with pytest.raises(DataError, match="was not made by a clean commit"):
        processors.publish(read(NEEDS, here), here)
    trained_on(own, "Xeon")
    with pytest.raises(DataError, match="no run in .* was made on another kind of processor"):
        processors.publish(read(NEEDS, here), here)
    assert not list(here.published_dir.rglob(processors.FILE))
