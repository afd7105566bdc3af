"""Lays the site out as the repository is, so that links between pages, results and README are the same in both.

A hook of mkdocs (mkdocs.yml).
"""

from __future__ import annotations

import json
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

REPOSITORY = Path(__file__).resolve().parent.parent
PUBLISHED = "results/published"
KINDS = (".md", ".png", ".csv")  # of results


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The pages, the published results that they link, and the tour as a page and as a notebook."""
    pages = ["README.md", "CONTRIBUTING.md", *_under("docs", (".md", ".ipynb")), *_under(PUBLISHED, KINDS)]
    laid = [file for file in files if file.src_uri.startswith("assets/")]
    laid += [File.generated(config, name, abs_src_path=str(REPOSITORY / name)) for name in pages]
    tour = json.loads((REPOSITORY / "docs" / "tour.ipynb").read_text(encoding="utf-8"))
    laid.append(File.generated(config, "docs/tour.md", content=_page_of(tour)))
    return Files(laid)


def _under(folder: str, kinds: tuple[str, ...]) -> list[str]:
    paths = sorted((REPOSITORY / folder).rglob("*"))
    return [path.relative_to(REPOSITORY).as_posix() for path in paths if path.suffix in kinds]


def _page_of(notebook: dict) -> str:
    """The notebook's cells as Markdown."""
    cells = (("".join(cell["source"]), cell["cell_type"] == "code") for cell in notebook["cells"])
    return "\n\n".join(f"```python\n{text}\n```" if is_code else text for text, is_code in cells) + "\n"
