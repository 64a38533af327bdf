"""Write book/evidence.md and the README's summary of it from the results; --check only compares.

python scripts/evidence.py [--check]
"""

import sys
from pathlib import Path

import level

from clip_lab.experiments.report import page, results, summary

ROOT = Path(__file__).parents[1]


def texts() -> dict[Path, str]:
    """What each file should say."""
    found = results()
    readme = ROOT / "README.md"
    return {
        ROOT / "book/evidence.md": page(found),
        readme: level.with_part(readme, "evidence", summary(found)),
    }


def main() -> int:
    options = level.parser(__doc__).parse_args()
    return level.keep(texts(), options.check)


if __name__ == "__main__":
    sys.exit(main())
