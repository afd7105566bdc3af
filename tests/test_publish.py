"""What is published, what is refused, and that what is committed is remade from itself."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import cv2
import numpy as np
import pytest
from invented import COMMIT, add, cells, contents, published, setting

import analysis
import experiments
from analysis import make_all, make_table2, publish, verify
from can.commands.scales import SCALES
from can.commands.setting import PUBLISHED, Setting
from can.commands.spec import Need, Spec
from can.errors import DataError
from can.runs import RunDir
from can.system.checksums import checksum_of
from can.system.files import read_json, write_json
from experiments import table1_denoising, table2_jft
from experiments.harness.declared import all_needs

ROW = "can/vit_l/800"


@pytest.fixture
def here(tmp_path: Path) -> Setting:
    return setting(tmp_path)


def names(here: Setting) -> set[str]:
    return {str(path) for path in contents(here.published_dir)}


def test_finished_runs_are_copied_with_what_belongs_to_them_and_nothing_else(here: Setting) -> None:
    for seed in range(3):
        run = add(here, "can/vit_b/800", seed, top1=80 + seed)
        add(here, "can/vit_b/800", seed, "finetune", top1=90)
        for name in ("finetune.csv", "finetune.npz", "notes.csv", "eval-of_no_table.json", ".lock", "loss.png"):
            (run.results / name).write_text("{}")
    add(here, "can/vit_b/800", 7, "few_shot", top1=90, protocol={"l2": 9}).eval_path("few_shot")  # by other settings
    add(here, Spec("can", "vit_b", "jft", 800).but(mask_rate=0.7), 0, top1=70)  # in no table
    assert publish.publish_runs(here)[0] == "published 3 runs"
    assert names(here) == {
        f"laptop/can-vitb-jft-e800-s{seed}/{name}"
        for seed in range(3)
        for name in (
            "config.json",
            "train.csv",
            "provenance.json",
            "eval-linear_probe.json",
            "eval-finetune.json",
            "finetune.csv",
            "finetune.npz",
        )
    }
    copied = here.published_dir / "laptop" / "can-vitb-jft-e800-s1"
    assert contents(copied).items() <= contents(here.results_dir / "laptop" / copied.name).items()


def test_an_evaluation_that_comes_later_is_published_beside_those_of_the_same_weights(here: Setting) -> None:
    for seed in range(3):
        add(published(here), ROW, seed, top1=10)
    before = contents(here.published_dir)
    run = add(here, ROW, 0, "few_shot", metrics={"birds/10shot": 0.5})
    publish.publish_runs(here)
    added = f"laptop/{run.name}/eval-few_shot.json"
    assert names(here) == {*map(str, before), added}
    after = contents(here.published_dir)
    assert before.items() <= after.items() and after[Path(added)] == run.eval_path("few_shot").read_bytes()


def test_of_other_weights_nothing_stays_published(here: Setting) -> None:
    for seed in range(3):
        add(published(here), "can/vit_b/800", seed, top1=10)
        add(published(here), ROW, seed, top1=10)
        add(published(here), ROW, seed, "few_shot", top1=10)
        run = add(here, ROW, seed, top1=80, fingerprints={"weights": f"new{seed}"})
        write_json(
            run.results / "provenance.json", read_json(run.results / "provenance.json") | {"weights": f"new{seed}"}
        )
    publish.publish_runs(here)
    assert "laptop/can-vitb-jft-e800-s0/config.json" in names(here)
    assert not any("few_shot" in name for name in names(here))
    assert "80.0" in make_table2.render(here)


def test_the_seeds_of_a_row_may_be_published_one_by_one_only_where_one_is_enough(here: Setting) -> None:
    for seed in range(2):
        add(published(here), ROW, seed, top1=10)
    add(here, ROW, 2, "few_shot", metrics={"birds/10shot": 0.5})
    publish.publish_runs(here)  # what lacks seeds is not of the reader's
    add(here, ROW, 2, top1=10)
    publish.publish_runs(here)  # the third seed


def refused(here: Setting, message: str) -> None:
    before = contents(here.published_dir.parent)
    with pytest.raises(DataError, match=message):
        publish.publish_runs(here)
    assert contents(here.published_dir.parent) == before


def test_a_run_or_an_evaluation_by_changed_sources_is_refused(here: Setting) -> None:
    for seed in range(3):
        run = add(here, ROW, seed, top1=80)
    for path in (run.results / "provenance.json", run.eval_path("linear_probe")):
        clean = path.read_text()
        for git in ({"commit": "c0ffee", "dirty": True}, {"commit": None, "dirty": None}):
            values = read_json(path)
            values.get("provenance", values)["git"] = git
            write_json(path, values)
            refused(here, f"{path.name} was not made by a clean commit: make it from a fresh clone")
        path.write_text(clean)
    assert publish.publish_runs(here) == ["published 3 runs"]


def test_runs_of_two_commits_are_refused_and_so_is_an_evaluation(here: Setting) -> None:
    later = COMMIT | {"commit": "facade"}
    for seed in range(3):
        add(here, ROW, seed, top1=80)
        run = add(here, "can/vit_b/800", seed, top1=80, git=later if seed == 2 else COMMIT)
    refused(here, r"make_\w+ would read pre-training of 2 commits \(c0ffee, facade\): make all of it by one")
    write_json(run.results / "provenance.json", read_json(run.results / "provenance.json") | {"git": COMMIT})
    refused(here, r"make_\w+ would read linear_probe of 2 commits \(c0ffee, facade\): make all of it by one")


def machine(run: RunDir, cpu: str) -> None:
    """Notes what a run and its linear probe were made on."""
    for path in (run.results / "provenance.json", run.eval_path("linear_probe")):
        values = read_json(path)
        values.get("provenance", values)["cpu"] = {"model": cpu}
        write_json(path, values)


@pytest.mark.parametrize(
    ("cpu", "top1", "weights", "joined"),
    [
        ("one", 10, "w1", True),
        ("another", 10, "w1", False),
        ("one", 10.01, "w1", False),
        ("one", 10, "others", False),
    ],
    ids=["equal", "another processor", "another number", "other weights"],
)
def test_seeds_of_two_commits_stand_together_if_a_run_made_anew_is_equal(
    here: Setting, cpu: str, top1: float, weights: str, joined: bool
) -> None:
    later = COMMIT | {"commit": "facade"}
    for seed in range(3):
        machine(add(published(here), ROW, seed, top1=10), "one")
    for seed in (3, 4):
        machine(add(here, ROW, seed, top1=12, git=later), "another")
    refused(here, "or make a run of the older anew by the newer, on the same kind of processor: is it equal")
    anew = add(here, ROW, 1, top1=top1, git=later, fingerprints={"weights": weights})
    made = anew.results / "provenance.json"
    write_json(made, read_json(made) | {"weights": weights})
    machine(anew, cpu)
    if not joined:
        refused(here, r"of 2 commits \(c0ffee, facade\)")
        return
    publish.publish_runs(here)
    noted = (here.published_dir / "laptop" / "made_anew.csv").read_text().splitlines()
    assert noted == [
        "kind,before,anew,run,processor",
        f"linear_probe,c0ffee,facade,{anew.name},one",
        f"pre-training,c0ffee,facade,{anew.name},one",
    ]
    text = make_table2.render(here)
    assert (
        "- pre-training of published runs was made by commit `c0ffee` (2 runs), commit `facade` (3 runs); "
        "within a row: can/vit_l/800." in text
    )
    assert "- pre-training of published runs was made by one (3 runs), another (2 runs)" in text
    add(here, ROW, 5, top1=12, git=later)
    publish.publish_runs(here)  # what was shown stays shown


def test_of_a_scale_that_is_published_in_parts_rows_with_too_few_seeds_are_left_out(tmp_path: Path) -> None:
    evening = setting(tmp_path, "evening")
    for seed in (1, 2, 3):
        add(evening, ROW, seed, top1=50)
    add(evening, "mae/vit_l/1600", 1, top1=50)
    said = publish.publish_runs(evening)
    assert said[0] == "published 3 runs" and "left out: linear_probe of mae/vit_l/1600 has 1 seeds" in said[1]
    assert publish.remake_tables(evening) == ["make_claims", "make_table2", "make_training_length"]


def test_rows_of_two_tables_may_be_of_two_commits_and_what_is_published_already_counts(here: Setting) -> None:
    later = COMMIT | {"commit": "facade"}
    ablation = [need.spec for need in table1_denoising.NEEDS]
    for seed in range(3):
        add(published(here), ROW, seed, top1=80)
        for spec in ablation[1:]:
            add(here, spec, seed, top1=60, git=later)
    assert publish.publish_runs(here) == ["published 9 runs"]
    for seed in range(3):
        add(here, ablation[0], seed, top1=60)
    refused(here, r"would read [\w.-]+ of 2 commits \(c0ffee, facade\)")


def test_an_evaluation_may_be_of_a_later_commit_than_its_runs(here: Setting) -> None:
    for seed in range(3):
        add(here, ROW, seed, top1=80)
        run = add(here, ROW, seed, "finetune", top1=85, git=COMMIT | {"commit": "facade"})
        write_json(run.results / "provenance.json", read_json(run.results / "provenance.json") | {"git": COMMIT})
    assert publish.publish_runs(here) == ["published 3 runs"]


def test_few_shot_is_published_with_one_seed_and_a_linear_probe_is_not(here: Setting) -> None:
    add(here, ROW, 0, "few_shot", n=100, metrics={"birds/10shot": 0.5})
    assert publish.publish_runs(here) == ["published 1 runs"]
    add(here, ROW, 0, top1=80)
    refused(here, "linear_probe of can/vit_l/800 has 1 seeds: publish 3 or more")


def test_finetuning_is_published_with_one_seed_where_a_figure_of_one_seed_reads_it_alone(here: Setting) -> None:
    add(here, "can/vit_b/800", 0, "finetune", top1=80)  # Figure 10
    assert publish.publish_runs(here) == ["published 1 runs"]
    add(here, ROW, 0, "finetune", top1=80)  # Figures 4 and 9
    refused(here, "finetune of can/vit_l/800 has 1 seeds: publish 3 or more")


def test_a_row_of_two_seeds_is_refused_but_at_smoke(here: Setting, tmp_path: Path) -> None:
    smoke = setting(tmp_path, "smoke")
    for seed in range(3):
        add(here, ROW, seed, top1=80)
        for scale in (here, smoke):
            if seed < 2:
                add(scale, "can/vit_b/800", seed, top1=80)
    refused(here, "linear_probe of can/vit_b/800 has 2 seeds: publish 3 or more")
    assert publish.publish_runs(smoke) == ["published 2 runs"]


def test_without_finished_runs_nothing_is_published(here: Setting) -> None:
    add(published(here), "can/vit_b/800", 0, top1=80)
    refused(here, f"no finished runs in {here.results_dir}/laptop")
    (add(here, ROW, 0, top1=80).results / "train.csv").unlink()
    for seed in (1, 2):
        add(here, ROW, seed, top1=80)
    refused(here, "linear_probe of can/vit_l/800 has 2 seeds")  # a run that is not trained to its end does not count


def test_tables_are_remade_of_the_published_results_alone_and_beside_them(here: Setting) -> None:
    for need in table2_jft.NEEDS:
        add(published(here), need.spec, 0, top1=80)
    add(here, ROW, 0, top1=30)
    before = names(here)
    made = {f"{name}.{ending}" for name in ("claims", "table2") for ending in ("md", "csv", "tex")}
    made |= {f"{name}.{ending}" for name in ("claims", "training_length") for ending in ("png", "pdf", "csv")}
    assert publish.remake_tables(here) == ["make_claims", "make_table2", "make_training_length"]
    assert names(here) - before == {f"laptop/{name}" for name in made}
    text = (here.published_dir / "laptop" / "table2.md").read_text(encoding="utf-8")
    assert cells(text, "CAN", "ViT-L", "800")[5:] == ["80.0 (1)"]
    assert str(here.published_dir.parent) not in text  # no folder of the maintainer's machine
    again = contents(here.published_dir)
    publish.remake_tables(here)
    assert contents(here.published_dir) == again


def test_a_scale_is_published_as_it_is(here: Setting, run_python) -> None:
    flags = [f"--published_dir={here.published_dir}", "--batch_size=32"]
    done = run_python(Path(publish.__file__), *flags, check=False)
    assert (done.returncode, done.stderr) == (1, "error: a scale is published as it is, without --batch_size=32\n")


def coordinates(pdf: bytes) -> tuple[np.ndarray, list[bytes]]:
    """The numbers that stand in the drawings of a PDF, and what stands between them; without its index of offsets."""
    body = pdf.rpartition(b"\nxref\n")[0]
    number = rb"(-?\d+\.\d+)"
    return np.array(re.findall(number, body), float), re.split(number, body)[::2]


@pytest.mark.parametrize("scale", SCALES)
def test_what_is_committed_is_what_its_results_make(scale: str, tmp_path: Path) -> None:
    """Every file that remaking writes is committed as it is; drawn figures may differ by a rounding."""
    here = setting(tmp_path, scale)
    if (PUBLISHED / scale).exists():
        shutil.copytree(PUBLISHED / scale, here.published_dir / scale)
    made = publish.remake_tables(here)
    assert bool(made) == any((PUBLISHED / scale).glob("*/eval-*.json"))
    before, after = contents(PUBLISHED / scale), contents(here.published_dir / scale)
    assert before.keys() == after.keys()
    for path in before:
        if path.suffix == ".png":
            ours, theirs = (cv2.imdecode(np.frombuffer(of[path], np.uint8), 1).astype(int) for of in (before, after))
            assert ours.shape == theirs.shape and np.abs(ours - theirs).mean() < 1, path
        elif path.suffix == ".pdf":
            (ours, texts), (theirs, others) = (coordinates(of[path]) for of in (before, after))
            assert texts == others and np.allclose(ours, theirs, atol=0.01), path
        else:
            assert before[path] == after[path], path


def test_every_published_run_is_at_a_scale_which_the_test_above_remakes() -> None:
    assert {path.parent.parent.name for path in PUBLISHED.glob("*/*/config.json")} <= set(SCALES)


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """One declaration and one make_*, in folders that belong to the packages."""
    for package, name, source in (
        (
            experiments,
            "toy",
            """
            from can.commands.spec import Need, Spec

            NEEDS = (Need(Spec("mae", "vit_b", "in1k", 50)),)
            """,
        ),
        (
            analysis,
            "make_toy",
            """
            from analysis.lib import captions, paper_table
            from analysis.lib.documents import Page
            from analysis.lib.results import read
            from experiments.toy import NEEDS

            import pandas as pd

            def render(setting, *, brief=False):
                found = read(NEEDS, setting)
                page = Page(captions.title("A toy", setting))
                specs = [need.spec for need in NEEDS]
                scores = paper_table.columns(found, "linear_probe", "top1", specs)
                table = pd.DataFrame({"Row": map(str, specs), **scores})
                page.table(table, caption="A toy")
                page.write(setting, "toy", table)
                return page.text
            """,
        ),
    ):
        folder = tmp_path / "more" / package.__name__
        folder.mkdir(parents=True)
        (folder / f"{name}.py").write_text(textwrap.dedent(source))
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    yield Need(Spec("mae", "vit_b", "in1k", 50))
    for name in ("experiments.toy", "analysis.make_toy"):
        sys.modules.pop(name, None)
    for package, name in ((experiments, "toy"), (analysis, "make_toy")):
        vars(package).pop(name, None)


def test_a_new_table_is_one_declaration_and_one_script(here: Setting, toy: Need) -> None:
    assert toy in all_needs() and "make_toy" in make_all.tables()
    for seed in range(3):
        add(here, toy.spec, seed, top1=40 + seed)
    assert publish.publish_runs(here) == ["published 3 runs"]
    assert publish.remake_tables(here) == ["make_toy"]
    text = (here.published_dir / "laptop" / "toy.md").read_text(encoding="utf-8")
    assert cells(text, str(toy.spec)) == [str(toy.spec), "41.0 ± 1.0 (3)"]
    assert "Of your 3 numbers: 3 equal, 0 within, 0 outside, 0 unknown." in verify.render(here)


def test_the_toy_is_gone_and_published_results_are_not_ignored_by_git() -> None:
    assert "make_toy" not in make_all.tables()
    path = PUBLISHED / "laptop" / "can-vitl-jft-e800-s0" / "config.json"
    ignored = subprocess.run(
        ["git", "check-ignore", "-q", str(path)], cwd=PUBLISHED.parents[1], capture_output=True, check=False
    )
    assert ignored.returncode == 1


def test_a_log_with_holes_is_not_published(here: Setting) -> None:
    for seed in range(3):
        run = add(here, ROW, seed, top1=80)
        made = run.results / "provenance.json"
        write_json(made, read_json(made) | {"log": checksum_of(run.results / "train.csv")})
    publish.publish_runs(here)
    log = run.results / "train.csv"
    log.write_text(log.read_text().splitlines()[0] + "\n")
    with pytest.raises(DataError, match=r"train\.csv is not the log that its training wrote: restore it"):
        publish.publish_runs(here)
