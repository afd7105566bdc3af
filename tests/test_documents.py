"""Tables as Markdown, LaTeX and CSV."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from analysis.lib.documents import read_csv, to_csv, to_latex, to_markdown

FRAME = pd.DataFrame(
    {"Method": ["DnC, T & al.", "CAN"], "Ours": ["quoted", "79.1 ± 0.4"], "Share": ["5%", None], "n": [1, 10]}
)


def test_markdown_lines_up_as_plain_text_with_text_left_and_numbers_right() -> None:
    assert to_markdown(FRAME).splitlines() == [
        "| Method       |       Ours |   Share |   n |",
        "|:-------------|-----------:|--------:|----:|",
        "| DnC, T & al. |     quoted |      5% |   1 |",
        "| CAN          | 79.1 ± 0.4 |       – |  10 |",
    ]


def test_numbers_that_arrive_as_text_keep_their_digits() -> None:
    frame = pd.DataFrame({"a": ["1.10", "2,494"], "b": ["**76.0**", "1e3"]})
    assert [line.replace(" ", "") for line in to_markdown(frame).splitlines()[2:]] == ["|1.10|**76.0**|", "|2,494|1e3|"]


def test_latex_escapes_cells_heads_and_caption_and_sets_groups_apart() -> None:
    lines = to_latex(
        FRAME.rename(columns={"n": "n_%"}), caption="50% of A_1", label="tab:x", rules_before=[1]
    ).splitlines()
    assert lines[0] == r"\begin{table}" and lines[-1] == r"\end{table}"
    assert r"\caption{50\% of A\_1}" in lines and r"\label{tab:x}" in lines
    assert lines[lines.index(r"\toprule") : lines.index(r"\bottomrule")] == [
        r"\toprule",
        r"Method & Ours & Share & n\_\% \\",
        r"\midrule",
        r"DnC, T \& al. & quoted & 5\% & 1 \\",
        r"\midrule",
        r"CAN & 79.1 ± 0.4 & – & 10 \\",
    ]
    assert r"\begin{tabular}{lrrr}" in lines


def test_csv_comes_back_as_it_was_and_a_missing_file_is_empty(tmp_path: Path) -> None:
    frame = pd.DataFrame({"remat": ["none", "None"], "step": [0.25, None]})
    (tmp_path / "a.csv").write_text(to_csv(frame))
    assert to_csv(frame) == "remat,step\nnone,0.25\nNone,\n"
    pd.testing.assert_frame_equal(read_csv(tmp_path / "a.csv"), frame)
    assert read_csv(tmp_path / "b.csv").shape == (0, 0)
