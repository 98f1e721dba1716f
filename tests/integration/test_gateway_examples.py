"""The examples of docs/protocol.md, run as they stand there: from a shell, from Python, from JavaScript."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from deployment import Deployment

from investigator.broker.operator import add_person
from investigator.broker.scopes import Scope
from investigator.config import load_console

PAGE = (Path(__file__).parents[2] / "docs/protocol.md").read_text()
NPM_WITHIN_S = 60


def example(heading: str, language: str) -> str:
    """The one block of this language under a heading."""
    section = PAGE.split(f"\n### {heading}\n", 1)[1].split("\n## ", 1)[0].split("\n### ", 1)[0]
    block: str
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return block


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with Deployment(tmp_path_factory.mktemp("examples") / "home") as deployment:
        deployment.broker()
        deployment.agents("web-1", "db-1")
        deployment.start("gateway").until("gateway ready")
        made = add_person(deployment.home / "broker", "tick", now_s=int(time.time()), scope=Scope.SCRIPT)
        made.save(deployment.home / "tick.creds")
        yield deployment


def arguments(fleet: Deployment, folder: Path) -> list[str]:
    """Broker, CA, credentials, the key that opens results, and an envelope with many findings, which come in pieces."""
    tree = folder / "tree"
    tree.mkdir()
    for number in range(1500):
        (tree / f"{number:0200}").touch()
    done = fleet.call("run", "-s", "-t", "all", "file", "-path", str(tree), "-name", r"\d{200}", "-matchlimit", "2000")
    (folder / "envelope.json").write_bytes(done.stdout)
    return [
        load_console(fleet.home).broker.url,
        str(load_console(fleet.home).broker.ca),
        str(fleet.home / "tick.creds"),
        str(fleet.home / "secrets" / "sealing.pem"),
        str(folder / "envelope.json"),
    ]


def check(done: subprocess.CompletedProcess[bytes]) -> None:
    """Both agents found all, in pieces that were opened and verified."""
    assert done.returncode == 0, done.stderr.decode()
    lines = done.stdout.decode().splitlines()
    assert orjson.loads(lines[-1]) == {"answered": 2}
    found = [line.split(" ", 2) for line in lines[:-1] if line.split(" ", 2)[1] == "found"]
    assert sorted(name for name, _, _ in found) == ["db-1", "web-1"]
    assert all(orjson.loads(results)[0]["statistics"]["totalhits"] == 1500 for _, _, results in found)
    assert sum("(findings ahead)" in line for line in lines) >= 2


def test_the_python_of_the_page_asks_and_opens_what_agents_answer(fleet: Deployment, tmp_path: Path) -> None:
    program = tmp_path / "ask.py"
    program.write_text(example("From Python", "python"))
    check(run([sys.executable, str(program), *arguments(fleet, tmp_path)], fleet))


def test_the_javascript_of_the_page_asks_and_opens_what_agents_answer(fleet: Deployment, tmp_path: Path) -> None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("there is no node, or no npm")
    (tmp_path / "package.json").write_text('{"type": "module", "private": true}')
    words = [
        npm,
        "install",
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        "--fetch-retries=0",
        "@nats-io/transport-node",
    ]
    try:
        installed = subprocess.run(words, cwd=tmp_path, capture_output=True, timeout=NPM_WITHIN_S, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("npm did not install @nats-io/transport-node in time")
    if installed.returncode != 0:
        pytest.skip(f"npm could not install @nats-io/transport-node: {installed.stderr.decode()[-200:]}")
    program = tmp_path / "ask.js"
    program.write_text(example("From JavaScript", "js"))
    check(run([node, str(program), *arguments(fleet, tmp_path)], fleet))


def test_the_shell_lines_of_the_page_ask_and_show_what_agents_answer(fleet: Deployment, tmp_path: Path) -> None:
    lines = tmp_path / "ask.sh"
    lines.write_text(example("From a shell", "sh"))
    path = f"{Path(sys.executable).parent}:{fleet.environment['PATH']}"
    environment = {**fleet.environment, "PATH": path, "CREDENTIALS": str(fleet.home / "tick.creds")}
    done = subprocess.run(
        ["sh", "-eu", str(lines)], env=environment, cwd=tmp_path, capture_output=True, timeout=90, check=False
    )
    assert done.returncode in (0, 6), done.stderr.decode()
    summary, *answers = done.stdout.decode().splitlines()
    assert orjson.loads(summary)["states"] == {"answered": 2}
    assert sum("/etc/passwd" in line for line in answers) == 2


def run(words: list[str], fleet: Deployment) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(words, env=fleet.environment, capture_output=True, timeout=90, check=False)
