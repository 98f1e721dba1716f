"""`investigator` with a clock that a test sets while it runs: `set_clock.py OFFSET_FILE ARGUMENT…`, the offset in seconds."""

import sys
import time
from pathlib import Path

from investigator.__main__ import main

_true = time.time
_offset = Path(sys.argv.pop(1))
time.time = lambda: _true() + float(_offset.read_text() or 0)

if __name__ == "__main__":
    sys.exit(main())
