"""Many agents in one process, until it is ended: `crowd.py HOME NUMBER`. They are those of `bench/fleet.py`."""

import asyncio
import sys
import threading
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

from fleet import raise_open_files, simulate_agents


class _Standing:
    """In place of the pipe to a parent: says on standard output that all are there, and hears nothing."""

    def send(self, word: Any) -> None:
        print(word, flush=True)

    def recv(self) -> None:
        threading.Event().wait()


if __name__ == "__main__":
    raise_open_files()
    asyncio.run(simulate_agents(Path(sys.argv[1]), int(sys.argv[2]), _Standing()))  # type: ignore[arg-type]  # as said
