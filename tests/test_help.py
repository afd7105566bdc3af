from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import pytest
from commands import Commands

from can.__main__ import main as can_main
from can.commands import COMMANDS

REPOSITORY = Path(__file__).resolve().parent.parent
ENTRY = re.compile(r"^  --(?P<flag>\[no\]\w+|\w+=\S+)(?P<said>.*(?:\n {10,}.*)*)", re.MULTILINE)


def helped(commands: Commands, script: str, *flags: str) -> dict[str, str]:
    """What `--help` says of each flag, in one line, by the flag and its kind of value."""
    done = commands(script, "--help", *flags)
    assert (done.returncode, done.stderr) == (0, "")
    return {entry["flag"]: " ".join(entry["said"].split()) for entry in ENTRY.finditer(done.stdout)}


@pytest.mark.parametrize("name", [*COMMANDS, "table2_jft", "tune_laptop"])
def test_help_lists_every_flag_with_its_meaning(commands: Commands, name: str) -> None:
    """Also where a flag is missing that the command needs."""
    said = helped(commands, f"experiments/{name}.py")
    assert len(said) > 140
    assert [flag for flag, text in said.items() if not re.match(r"[^\[]", text)] == []


def test_help_tells_the_kind_of_a_value_and_the_one_that_is_taken(commands: Commands) -> None:
    said = helped(commands, "experiments/pretrain.py", "--scale=smoke", "--method=mae", "--patch_size=4")
    assert said["mask_rate=FLOAT"] == "share of patches hidden from the encoder [0.75]"
    assert said["patch_size=INT"].endswith("[4]")
    assert said["remat=none|dense|block"].endswith("[none]")
    assert said["[no]print_config"].endswith("[no]")
    assert said["labelled=TEXT"].endswith("[smoke]")
    assert said["teacher_momentum=FLOAT"].endswith("of byol, can_teacher, dino, moclr, mocov3]")
    assert commands("experiments/pretrain.py", "--help", "--method=nix").returncode == 2


def test_can_names_its_commands_and_refuses_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["can"])
    can_main()
    assert re.findall(r"^  can (\w+) ", capsys.readouterr().out, re.MULTILINE) == list(COMMANDS)
    for name in COMMANDS:
        assert (REPOSITORY / "experiments" / f"{name}.py").exists()
    monkeypatch.setattr(sys, "argv", ["can", "train"])
    with pytest.raises(SystemExit, match="unknown command 'train' .valid: pretrain, "):
        can_main()


def test_the_package_alone_is_installed_with_its_files_of_data() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["setuptools"]["packages"]["find"]["include"] == ["can", "can.*"]
    installed = {
        path
        for package, patterns in project["tool"]["setuptools"]["package-data"].items()
        for pattern in patterns
        for path in (REPOSITORY / package.replace(".", "/")).glob(pattern)
    }
    others = {path for path in (REPOSITORY / "can").rglob("*.*") if path.suffix not in (".py", ".pyc")}
    assert installed == others != set()
