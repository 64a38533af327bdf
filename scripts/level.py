"""What the scripts share that write figures into pages: a marked part, and `--check`."""

import argparse
import re
from collections.abc import Mapping
from pathlib import Path


def with_part(page: Path, name: str, part: str) -> str:
    """The page's text with what stands between <!-- name --> and <!-- /name --> replaced."""
    marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    return marked.sub(lambda match: match[1] + part + match[2], page.read_text(encoding="utf-8"))


def parser(about: str | None) -> argparse.ArgumentParser:
    """A command line that knows --check; `about`: the script's docstring."""
    made = argparse.ArgumentParser(description=(about or "").split("\n")[0])
    made.add_argument("--check", action="store_true", help="write nothing, fail if a page is old")
    return made


def keep(wanted: Mapping[Path, str], check: bool) -> int:
    """Write what each page should say; `check`: only compare. The command's exit status."""
    old = {page for page, text in wanted.items() if page.read_text(encoding="utf-8") != text}
    if not check:
        for page in old:
            page.write_text(wanted[page], encoding="utf-8")
    return int(check and bool(old))
