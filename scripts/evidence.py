"""Write book/evidence.md and the README's summary of it from the results; --check only compares.

python scripts/evidence.py [--check]
"""

import argparse
import re
import sys
from pathlib import Path

from clip_lab.experiments.report import page, results, summary

ROOT = Path(__file__).parents[1]
PART = re.compile(r"(<!-- evidence -->\n).*?(<!-- /evidence -->)", re.DOTALL)


def texts() -> dict[Path, str]:
    """What each file should say."""
    found = results()
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    return {
        ROOT / "book/evidence.md": page(found),
        readme: PART.sub(lambda match: match[1] + summary(found) + match[2], text),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="fail if a file is not level")
    options = parser.parse_args()
    wanted = texts()
    if options.check:
        return int(any(path.read_text(encoding="utf-8") != text for path, text in wanted.items()))
    for path, text in wanted.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
