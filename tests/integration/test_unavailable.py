"""What a host lacks, and what it does not want told: in its facts, before an action goes out, and in its answers."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import orjson
from deployment import Deployment

from investigator.agent.limits import Limits
from investigator.agent.runner import Runner
from investigator.agent.survey import Survey
from investigator.modules import MODULES

SECRETS = ("dropper", "quarterly-numbers")


def test_a_worker_answers_what_is_lacking_before_it_runs_anything() -> None:
    async def story() -> tuple[Any, Survey]:
        async with Runner(Limits(), modules={"needy": "needy"}) as runner:
            return await runner.run("needy", {"unknown": 1}, deadline_s=time.monotonic() + 30), await runner.survey()

    ran, found = asyncio.run(story())
    assert (ran.state, ran.code) == ("failed", "unavailable")
    assert ran.result.errors == ["module needy needs the program no-such-program to read tea leaves; install it"]
    assert found.unavailable["needy"] == ran.result.errors[0]
    assert "file" in found.modules


def test_no_operation_can_ask_what_the_agent_asks_its_worker() -> None:
    async def story() -> Any:
        async with Runner(Limits()) as runner:
            return await runner.run("", {}, deadline_s=time.monotonic() + 30)

    assert asyncio.run(story()).code == "unknown-module"


def test_in_extra_privacy_mode_nothing_but_counts_and_metadata_leaves_the_host(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "quarterly-numbers").mkdir(parents=True)
    (tree / "quarterly-numbers" / "dropper").write_text("payload\n")
    (tree / "quarterly-numbers" / "dropper-too").symlink_to("nowhere")
    with Deployment(tmp_path / "home") as deployment:
        config = deployment.home / "agent.toml"
        text = config.read_text()
        assert "# extraprivacymode = true" in text
        config.write_text(text.replace("# extraprivacymode = true", "extraprivacymode = true"))
        deployment.broker()
        deployment.agent("web-1")
        row = orjson.loads(deployment.call("agents", "--output", "ndjson").stdout)
        assert row["environment"]["extraprivacymode"] is True
        assert "file" in row["environment"]["modules"]
        assert {*row["environment"]["modules"], *row["environment"]["unavailable"]} == {*MODULES}
        answer = deployment.ask("file", "--path", str(tree), "--name", "^dro", "--matchany")
    assert answer.states == {"web-1": "found"}
    assert "1 of 1 targeted agent is in extra privacy mode" in answer.errors
    result = answer.outcomes["web-1"]["results"][0]
    element = result["elements"]["s1"][0]
    assert element["file"] == "masked"
    assert element["fileinfo"]["size"] == 8
    assert element["search"]["paths"] == [str(tree)]  # the asker's own words
    assert result["errors"] == ["masked"]
    assert not any(secret in str(answer.outcomes) for secret in SECRETS)


def test_an_agent_with_a_mistake_in_its_privacy_setting_does_not_start(tmp_path: Path) -> None:
    with Deployment(tmp_path / "home") as deployment:
        config = deployment.home / "agent.toml"
        good = config.read_text()
        for wrong in (
            'extraprivacymode = "true"',
            "extraprivacymode = 1",
            "extraprivacy = true",
            "extraprivacymode = yes",
        ):
            config.write_text(f"{wrong}\n{good}")
            done = deployment.call("agent", "--name", "web-1")
            assert done.returncode != 0
            assert b"agent.toml" in done.stderr
            assert b"connected" not in done.stdout
