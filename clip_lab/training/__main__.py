"""`torchrun --nproc-per-node 2 -m clip_lab.training …`: clip-lab train, in each process."""

import sys

from clip_lab.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
