"""`python -m clip_lab`, the same as `clip-lab`."""

import sys

from clip_lab.cli import main

sys.exit(main())
