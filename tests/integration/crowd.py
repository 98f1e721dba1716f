"""Many agents in one process, until it is ended: `crowd.py HOME NUMBER`. They are those of `bench/fleet_simulated.py`."""

import asyncio
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

from fleet_deployment import raise_open_files, token_for_all
from fleet_simulated import simulate_agents


class _Standing:
    """In place of the pipe to a parent: says on standard output that all are there."""

    def send(self, word: Any) -> None:
        print(word, flush=True)


if __name__ == "__main__":
    raise_open_files()
    home, numbers = Path(sys.argv[1]), range(int(sys.argv[2]))
    asyncio.run(simulate_agents(home, token_for_all(home), numbers, _Standing()))  # type: ignore[arg-type]  # as said
