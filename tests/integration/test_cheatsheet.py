"""docs/cheatsheet.md: every line of MIG's cheat sheet is there as written, asks what ours asks, and runs."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from deployment import Deployment, read_answer

from investigator.cli.request import parse_run
from investigator.console.condition import compile_target
from investigator.protocol.target import judge

ROOT = Path(__file__).parents[2]
LINES = (ROOT / "tests/corpus/mig-cheatsheet.sh").read_text()
"""As MIG's page has them, but for the quotes around `<2d`."""
PAIRS = re.findall(
    r"^```sh\n(mig.*?)\n(investigator .*?)\n```$", (ROOT / "docs/cheatsheet.md").read_text(), re.MULTILINE | re.DOTALL
)
MACROS = {"myservers": "tags->>'operator' = 'IT'"}
OUTWARD = ("ping", "timedrift")
"""What would send something beyond this machine is not sent: its action is written, signed and explained."""
NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)
ROWS = [
    {"id": str(number), "name": name, "os": system, "mode": "daemon", "status": "online", "tags": {"operator": tag},
     "environment": {"os": system}}
    for number, (name, system, tag) in enumerate(
        (name, system, tag)
        for name in ("buildbot-1", "x.phx1.example.net", "y.scl3.example.net", "mig-api1", "z")
        for system in ("linux", "darwin", "windows")
        for tag in ("IT", "opsec")
    )
]  # fmt: skip


def words_of(command: str) -> tuple[list[str], str]:
    """A command's words, and its standard input, as bash reads them."""
    script = (
        "show() { printf '%s\\0' \"$@\"; if [ ! -t 0 ]; then cat; fi; }\n"
        'mig() { show mig "$@"; }; mig-agent() { show mig-agent "$@"; }; mig-agent-search() { show mig-agent-search "$@"; }\n'
        'investigator() { show investigator "$@"; }\n'
    )
    done = subprocess.run(
        ["bash", "-c", script + command], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    *words, stdin = done.stdout.split("\0")
    return words, stdin


def short(pair: Any) -> str:
    return " ".join(str(pair).split()[:3])


def asked(words: list[str]) -> tuple[Any, Any]:
    """What is asked, and of whom."""
    request = parse_run(words[1:] if words[0] == "mig" else words[2:], prog=words[0])
    what = (request.module, bare(request.parameters), request.expire_s, request.show)
    target = request.target or "status='online'"
    return what, whom(target, request.target_found)


def whom(target: str, found: str | None = None) -> Any:
    if found is not None:
        return ["found", found]
    tree, condition = compile_target(target, MACROS)
    return tree if "found" in tree else [row["id"] for row in ROWS if judge(condition, row, NOW)]


def bare(value: Any) -> Any:
    """Without the slash at the end of a folder's name."""
    if isinstance(value, dict):
        return {key: bare(item) for key, item in value.items()}
    if isinstance(value, list):
        return [bare(item) for item in value]
    return value.rstrip("/") if isinstance(value, str) else value


def test_migs_lines_stand_on_the_page_as_they_were_written() -> None:
    assert "\n".join(mig for mig, _ in PAIRS) + "\n" == LINES
    assert len(PAIRS) == 18


@pytest.mark.parametrize(("mig", "ours"), [pair for pair in PAIRS if pair[0].startswith("mig ")], ids=short)
def test_both_ways_ask_the_same_of_the_same(mig: str, ours: str) -> None:
    theirs, whose = asked(words_of(mig)[0])
    assert (theirs, whose) == asked(words_of(ours)[0])
    assert whose


def test_the_agents_are_searched_for_with_the_same_target() -> None:
    mig, ours = next(pair for pair in PAIRS if pair[0].startswith("mig-agent-search"))
    words = words_of(mig)[0]
    assert words[1] == "-t"
    assert whom(words[2]) == whom(words_of(ours)[0][3]) != []


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with Deployment(tmp_path_factory.mktemp("fleet") / "home") as deployment:
        with open(deployment.home / "console.toml", "a") as config:
            config.write(f'myservers = "{MACROS["myservers"]}"\n')
        deployment.broker()
        deployment.agent("mig-api1.buildbot", "--tag", "operator=IT")
        yield deployment


def typed(fleet: Deployment, words: list[str], stdin: str = "") -> subprocess.CompletedProcess[bytes]:
    """A line, as a shell would start it."""
    name, *rest = words
    code = f"import sys; sys.argv[0] = {name!r}; from investigator.__main__ import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", code, *rest],
        env=fleet.environment, input=stdin.encode(), capture_output=True, timeout=100, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("line", [line for pair in PAIRS for line in pair], ids=short)
def test_every_line_runs(fleet: Deployment, line: str) -> None:
    words, stdin = words_of(line)
    if set(words) & set(OUTWARD):
        at = 1 if words[0] == "mig" else 2
        words = [*words[:at], "-dry-run", *words[at:]]
    done = typed(fleet, words, stdin)
    assert done.returncode == 0, done.stderr.decode()


def test_who_found_something_before_is_asked_again_and_who_found_nothing_is_not(fleet: Deployment) -> None:
    first = fleet.ask("file", "-path", "/etc/passwd", "-content", "^root:")
    assert first.states == {"mig-api1.buildbot": "found"}
    sub_select = (
        "id IN (SELECT agentid FROM commands, json_array_elements(commands.results) AS r "
        f"WHERE commands.actionid = '{first.summary['action']}' AND r#>>'{{foundanything}}' = '{{}}')"
    )
    for target, count in ((sub_select.replace("{}", "true"), 1), (sub_select.replace("{}", "false"), 0)):
        answer = fleet.ask("-t", target, "file", "-path", "/etc/passwd", "-content", "^spongebob")
        assert answer.summary["targeted"] == count
        assert len(answer.states) == count
    again = fleet.ask("-t", "all", "-target-notfound", first.summary["action"], "file", "-path", "/etc", "-name", "x")
    assert again.summary["targeted"] == 0


def test_the_agents_row_is_migs(fleet: Deployment) -> None:
    done = typed(fleet, ["mig-agent-search", "-t", "name LIKE 'mig-api%'"])
    head, row = done.stdout.decode().splitlines()
    assert head.split("; ")[:3] == ["name", "id", "status"]
    assert row.split("; ")[0] == "mig-api1.buildbot"


def test_migs_agent_answers_with_one_line_of_json(fleet: Deployment) -> None:
    words, stdin = words_of(next(mig for mig, _ in PAIRS if mig.startswith("mig-agent -m")))
    result = orjson.loads(typed(fleet, words, stdin).stdout)
    assert result["success"]
    assert result["elements"]["s1"][0]["search"]["md5"] == ["CF4EB543A119E87CB112785E2B62CCD0"]


def test_an_answer_is_read_as_other_tests_read_it(fleet: Deployment) -> None:
    words, _ = words_of(PAIRS[1][0])
    done = typed(fleet, [words[0], "-output", "ndjson", *words[1:]])
    answer = read_answer(done.returncode, done.stdout, done.stderr)
    assert answer.summary["targeted"] == 1
