"""Text of users, such as the names of their folders, in Markdown: it is shown as it is, and never works as markup."""

from __future__ import annotations

import re

_SPECIAL = re.compile(r"([\\`*_\[\]<>!&|~])")


def code(text: str) -> str:
    """`text` as a span of code. Backticks in it do not end the span: the fence is longer than any row of them."""
    flat = " ".join(text.split())  # a line break would end a list or a table, and the span with it
    longest = max(map(len, re.findall("`+", flat)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {flat} {fence}" if longest else f"{fence}{flat}{fence}"


def literal(text: str) -> str:
    """`text` outside of code, with what Markdown and HTML would read as markup escaped; other texts stay as they are.

    An underscore between letters and a lone sign are no markup, and are left alone where nothing else is.
    """
    if not re.search(r"[<`\[\]\\]|&\w|&#", text):
        return text
    return _SPECIAL.sub(r"\\\1", text)
