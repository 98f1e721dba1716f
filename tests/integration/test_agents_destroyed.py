"""An agent ends another one of its host, and itself once its answer is acknowledged; by the highest weight only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
from deployment import Answer, Deployment, is_running

from investigator import __version__


def ask(deployment: Deployment, target: str, pid: int, **more: Any) -> Answer:
    operation = {"module": "agentdestroy", "parameters": {"pid": pid, "version": __version__, **more}}
    file = deployment.home / "action.json"
    file.write_bytes(orjson.dumps({"name": "end it", "operations": [operation], "syntaxversion": 2}))
    return deployment.ask("-t", target, "-i", str(file))


def told(answer: Answer, name: str) -> str:
    (result,) = answer.outcomes[name]["results"]
    return str(result["elements"])


def test_an_agent_ends_another_one_and_then_itself_after_it_has_answered(tmp_path: Path) -> None:
    with Deployment(tmp_path / "home") as deployment:
        broker = deployment.broker()
        one, other = deployment.agents("one", "other")
        refused = ask(deployment, "name='one'", broker.pid)
        assert refused.states == {"one": "failed"}
        assert is_running(broker.pid)
        answer = ask(deployment, "name='one'", other.pid)
        assert answer.states == {"one": "found"}, answer
        assert told(answer, "one") == f"PID {other.pid} from agent {__version__} has been killed"
        assert other.wait() == 0  # it was told to stop first, and did
        assert is_running(one.pid)
        answer = ask(deployment, "name='one'", one.pid)
        assert told(answer, "one") == f"PID {one.pid} from agent {__version__} stops once this answer is acknowledged"
        one.until("ended, as a signed action told it")
        assert one.wait() == 0
        again = deployment.agent("one")  # nothing but a supervisor, or a person, starts it again; the state is whole
        assert deployment.ask("-t", "name='one'", "file", "-path", "/etc", "-name", "^passwd$").states == {
            "one": "found"
        }
        assert is_running(again.pid)
