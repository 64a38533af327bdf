"""The package's docstrings in the book: plain text with `code`, written for who reads the source.

reStructuredText means other things by a single backtick, a star and an underscore. Each docstring
is put into its terms: `code` gets two backticks, indented lines become a literal block, and
everything else is taken as it stands.
"""

import re
from typing import Any

from sphinx.application import Sphinx

CODE = re.compile(r"(`[^`]+`)")
ITEM = re.compile(r"^(\s*)(\*|-|\d+\.) ")
SPECIAL = re.compile(r"([\\*|_])")


def paragraphs(lines: list[str]) -> list[list[str]]:
    """Runs of lines with nothing empty between them."""
    found: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            found[-1].append(line)
        elif found[-1]:
            found.append([])
    return [lines for lines in found if lines]


def text(paragraph: list[str]) -> list[str]:
    """A paragraph or a list, with nothing in it that reStructuredText would read as a mark."""
    item = ITEM.match(paragraph[0])
    if not item:  # lines that stand further in would begin a quotation
        shift = len(paragraph[0]) - len(paragraph[0].lstrip())
        paragraph = [" " * shift + line.lstrip() for line in paragraph]
    start = item.group(0) if item else ""
    body = "\n".join(paragraph)[len(start) :]
    parts = CODE.split(body)
    parts[::2] = [SPECIAL.sub(r"\\\1", part) for part in parts[::2]]
    parts[1::2] = [f"`{part}`" for part in parts[1::2]]
    lines = (start + "".join(parts)).split("\n")
    return [re.sub(r"^(\s*)\\\* ", r"\1* ", line) for line in lines]


def converted(lines: list[str]) -> list[str]:
    """The whole docstring."""
    made: list[str] = []
    in_list = False
    for paragraph in paragraphs(lines):
        shift = min(len(line) - len(line.lstrip()) for line in paragraph)
        if shift >= 4 and not in_list:
            made += ["::", "", *paragraph, ""]
            continue
        in_list = bool(ITEM.match(paragraph[0])) or (in_list and shift > 0)
        made += [*text(paragraph), ""]
    return made


def convert(app: Sphinx, kind: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    lines[:] = converted(lines)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("autodoc-process-docstring", convert)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
