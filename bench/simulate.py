"""What one connection, heartbeat and answer costs a broker, by `investigator simulate`, and how fast it fills and answers.

python bench/simulate.py                    10,000 agents: half a minute
python bench/simulate.py --agents 100000    three minutes
"""

from __future__ import annotations

import argparse
import subprocess

import orjson

from figures import figure
from investigator.program import own_command


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=10_000)
    agents = parser.parse_args().agents
    words = [*own_command(), "simulate", "--agents", str(agents), "--output", "json"]
    told = orjson.loads(subprocess.run(words, check=True, capture_output=True).stdout)
    measured, costs = told["measured"], {cost["name"]: cost["value"] for cost in told["costs"]}
    note = f"{agents:,} agents"
    figure("simulate.fill", agents / measured["fill_s"], unit="/s", better="higher", note=f"facts stored; {note}")
    figure("simulate.answer", agents / measured["answer_s"], unit="/s", better="higher", note=f"answers stored; {note}")
    figure("simulate.connection", costs["connection_memory_bytes"] / 1000, unit="kB", note="the server's, with TLS")
    figure("simulate.stored_message", costs["stored_memory_bytes"], unit="B", note="memory of a restarted server")
    figure("simulate.heartbeat", costs["heartbeat_bytes"], unit="B", goal=200, note="signed")
    figure("simulate.connect_cpu", costs["connect_cpu_us"], unit="µs", note="the server's, with TLS")
    figure("simulate.heartbeat_cpu", costs["heartbeat_cpu_us"], unit="µs")
    figure(
        "simulate.result_x",
        costs["result_cpu_us"] / costs["heartbeat_cpu_us"],
        against="a heartbeat's CPU",
        note="an answer's, the server's",
    )


if __name__ == "__main__":
    main()
