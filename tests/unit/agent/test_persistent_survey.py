"""Which modules can run is asked of a worker, and remembered where none would be there but for the question."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from investigator.agent.persistent import SURVEYED_S, Persistence
from investigator.agent.state import AgentState
from investigator.agent.survey import Survey
from investigator.config import AgentConfig, Link


class CountedRunner:
    """Counts how often it is asked; `server_pid` is the fork server's, while there is one."""

    def __init__(self) -> None:
        self.asked = 0
        self.server_pid: int | None = 1

    async def survey(self) -> Survey:
        self.asked += 1
        return Survey(("file",), {"memory": f"for the {self.asked}. time"})


async def test_modules_are_looked_at_while_there_is_a_fork_server_and_once_an_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1000.0
    monkeypatch.setattr("investigator.agent.persistent.time.monotonic", lambda: now_s)
    runner: Any = CountedRunner()
    config = AgentConfig(broker=Link(url="", credentials=tmp_path), keyring=tmp_path, acl=tmp_path)
    with AgentState(tmp_path / "state") as state:
        persistence = Persistence(runner, config, state, name="web-1")
        asked = []
        for runner.server_pid, waited_s in ((1, 0.0), (1, 1.0), (None, 1.0), (None, SURVEYED_S), (None, 1.0), (2, 1.0)):
            now_s += waited_s
            found = await persistence.survey()
            assert found.unavailable["memory"] == f"for the {runner.asked}. time"
            asked.append(runner.asked)
    assert asked == [1, 2, 2, 3, 3, 4]
