"""An update of a folder's index that test_folder_index.py kills.

`python tests/search_worker.py FOLDER BATCH [CRASH]`: after each batch it says so and waits for a
line; with CRASH it kills itself at that many-th time that bytes are forced to the disk, when the
vectors are written and nothing points to them yet.
"""

import os
import signal
import sys

from conftest import CORPUS, untrained

from clip_lab.search import FolderIndex, folder, store
from clip_lab.tokenizer import Tokenizer

if __name__ == "__main__":
    folder.BATCH = int(sys.argv[2])
    if len(sys.argv) > 3:
        left = int(sys.argv[3])

        def crash(_: int) -> None:
            global left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        store.os.fsync = crash
    encoder = untrained(Tokenizer.train(CORPUS, vocab_size=560, context_length=24))
    for progress in FolderIndex(sys.argv[1], encoder).update():
        print(progress.done, flush=True)
        if len(sys.argv) == 3:
            sys.stdin.readline()
