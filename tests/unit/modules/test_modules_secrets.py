"""No module gives away what it looked into, and in extra privacy mode none says what it found by name.

Every module of the catalogue is asked here: one without a scenario (see `secret_scenarios`) fails.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from investigator.agent import worker
from investigator.agent.channel import Request
from investigator.agent.limits import Limits
from investigator.modules import MODULES, get_module
from investigator.modules.needs import missing
from secret_scenarios import SCENARIOS, Scenario, planting


def results(module: str, scenario: Scenario, *, private: bool) -> list[dict[str, Any]]:
    """What leaves a worker for each of the scenario's runs."""
    answers = []
    for parameters in scenario.asked:
        request = Request(
            module=module,
            parameters=parameters,
            deadline_s=float("inf"),
            folder="/",
            local=False,
            limits=Limits(),
            private=private,
        )
        answers.append(orjson.loads(worker.encode(worker.answer(request), request.limits)))
    return answers


def shown(module: str, answers: list[dict[str, Any]]) -> str:
    """All of it, as JSON and as people read it."""
    lines = [line for answer in answers for line in get_module(module).lines(answer["result"], everything=True)]
    return orjson.dumps(answers).decode() + "\n".join(lines)


def test_every_scenario_is_of_a_module() -> None:
    assert set(SCENARIOS) <= set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_no_result_holds_what_a_module_looked_into_or_in_privacy_mode_what_it_is_called(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if missing(get_module(module).spec):
        pytest.skip(str(missing(get_module(module).spec)))
    plant = planting(module)
    assert plant is not None, "add what your module must not give away: tests/secret_scenarios.py says how"
    with plant(tmp_path) as scenario:
        if scenario.module is not None:
            monkeypatch.setattr("investigator.agent.worker.get_module", lambda _: scenario.module)
        asked = orjson.dumps(scenario.asked).decode()
        assert not [text for text in (*scenario.content, *scenario.named) if text in asked], "the asker said it first"
        plain = results(module, scenario, private=False)
        private = results(module, scenario, private=True)
    assert {answer["code"] for answer in (*plain, *private)} <= {"", "module"}, (plain, private)
    assert [text for text in scenario.content if text in shown(module, plain)] == []
    assert [text for text in scenario.named if text not in shown(module, plain)] == [], "it met nothing of that name"
    assert [text for text in (*scenario.content, *scenario.named) if text in shown(module, private)] == []
    for answer in private:
        assert set(answer["result"]["errors"] or ()) <= {"masked"}
    assert [answer["result"]["foundanything"] for answer in plain] == [
        answer["result"]["foundanything"] for answer in private
    ]
