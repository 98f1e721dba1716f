"""Many agents in one process, until it is ended: `crowd.py HOME NUMBER`. They are those of `bench/fleet.py`."""

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

from fleet_deployment import raise_open_files, token_for_all
from simulated_agents import InProcess, RollCall, simulate_agents

if __name__ == "__main__":
    raise_open_files()
    home, numbers = Path(sys.argv[1]), range(int(sys.argv[2]))
    all_here = RollCall(numbers, lambda: print("ready", flush=True))
    asyncio.run(simulate_agents(home, token_for_all(home), numbers, runner=InProcess(), roll=all_here))
