"""Findings in pieces, when something dies or is stopped in the middle: nothing lost, nothing double, and what is missing is said."""

from __future__ import annotations

import csv
import io
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import orjson
import pytest
from deployment import Deployment, Process, pieces_told

T = TypeVar("T")
pytestmark = pytest.mark.timeout(400)
PATIENCE_S = 150.0
"""Workers run when nothing else wants to: on a machine that is busy with other tests they wait long."""
NAMES = [f"{number:0200}" for number in range(1200)]


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Deployment]:
    with Deployment(tmp_path / "home") as deployment:
        yield deployment


def search(folder: Path, *, zeros: int) -> list[str]:
    """A search that finds 1,200 files, which are some pieces, and then reads so many bytes of zeros, without finding more."""
    (folder / "a").mkdir(parents=True)
    (folder / "z").mkdir()
    for name in NAMES:
        (folder / "a" / name).touch()
    with (folder / "z" / "zeros").open("wb") as file:
        file.truncate(zeros)
    where = ("-path", str(folder / "a"), "-path", str(folder / "z"))
    return [
        "file",
        *where,
        "-name",
        "^[0-9]{200}$",
        "-name",
        "^zeros$",
        "-matchany",
        "-sha2",
        "1" * 64,
        "-matchlimit",
        "9999",
    ]


ENDLESS = 900 << 30


def until(ask: Callable[[], T]) -> T:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.02)
    raise AssertionError("it did not happen")


def with_pieces(deployment: Deployment) -> tuple[str, int]:
    """The action, of one that is asked for, once the stream has some of its pieces; and how many it has then."""
    (told,) = until(lambda: pieces_told(deployment)).items()
    return told[0], len(told[1])


def files_of(pieces: list[Any]) -> list[str]:
    return [element["file"] for piece in pieces for element in piece["s1"] or () if element["file"]]


def lines_of(asking: Process) -> list[str]:
    """The files that a `run` with text output printed, as the agent `only` found them."""
    return [line.split()[1] for line in asking.lines if line.startswith("only /")]


def test_an_agent_that_is_killed_among_its_pieces_says_how_many_it_sent_and_none_is_lost_or_told_twice(
    alone: Deployment, tmp_path: Path
) -> None:
    alone.broker()
    agent = alone.agent("only")
    words = search(tmp_path / "tree", zeros=ENDLESS)
    asking = alone.start("run", "-t", "all", "--wait", "-e", "200s", *words)
    asking.until("only /", within_s=PATIENCE_S)
    agent.signal(signal.SIGKILL)
    agent.wait()
    alone.agent("only")
    said = asking.until("failed: only")
    asking.until("1 targeted: 1 failed")
    assert asking.wait() == 6
    found = re.search(
        r"\(interrupted: the agent ended while the action ran; (\d+) pieces? of findings had been sent", said
    )
    assert found is not None, said
    ((_, pieces),) = pieces_told(alone).items()
    assert sorted(piece.number for piece in pieces) == list(range(1, int(found[1]) + 1))
    shown = lines_of(asking)
    assert len(shown) == len(set(shown))
    assert sorted(shown) == sorted(files_of([piece.elements for piece in pieces]))
    assert not any("did not arrive" in line for line in asking.lines)


def test_a_broker_that_is_killed_among_pieces_costs_none_of_them(alone: Deployment, tmp_path: Path) -> None:
    broker = alone.broker()
    alone.agent("only")
    words = search(tmp_path / "tree", zeros=256 << 20)
    asking = alone.start("run", "-t", "all", "--wait", "-e", "200s", *words)
    asking.until("only /", within_s=PATIENCE_S)
    broker.signal(signal.SIGKILL)
    broker.wait()
    alone.broker()
    asking.until("1 targeted: 1 found", within_s=PATIENCE_S)
    assert asking.wait() == 0
    shown = lines_of(asking)
    assert len(shown) == len(set(shown))
    assert {Path(path).name for path in shown} == {*NAMES, "zeros"}
    ((_, pieces),) = pieces_told(alone).items()
    assert sorted(piece.number for piece in pieces) == list(range(1, len(pieces) + 1))


def test_what_is_cancelled_among_its_pieces_keeps_those_that_came(alone: Deployment, tmp_path: Path) -> None:
    alone.broker()
    alone.agent("only")
    words = search(tmp_path / "tree", zeros=ENDLESS)
    asking = alone.start("run", "--output", "ndjson", "-t", "all", "-e", "200s", *words)
    action, _ = with_pieces(alone)
    done = alone.call("cancel", action, "--reason", "enough")
    assert done.returncode == 0, done.stderr
    line = orjson.loads(asking.until('"outcome"'))
    asking.until('"summary"')
    assert asking.wait() == 6
    assert (line["state"], line["code"]) == ("cancelled", "by-signer")
    assert "unfinished" not in line  # it ended: all that it had sent is here
    (result,) = line["results"]
    files = files_of([result["elements"]])
    assert result["foundanything"]
    assert len(files) == len(set(files)) > 0
    assert sorted(files) == sorted(files_of([piece.elements for piece in pieces_told(alone)[action]]))


@pytest.mark.parametrize("output", ["json", "csv", "ndjson"])
def test_ctrl_c_leaves_with_the_pieces_that_had_come_marked_as_unfinished(
    alone: Deployment, tmp_path: Path, output: str
) -> None:
    alone.broker()
    agent = alone.agent("only")
    words = search(tmp_path / "tree", zeros=ENDLESS)
    asking = alone.start("run", "--output", output, "-t", "all", "-e", "200s", *words)
    _, least = with_pieces(alone)
    agent.signal(signal.SIGSTOP)  # so that no more comes
    asking.signal(signal.SIGINT)
    assert asking.wait() == 130
    agent.signal(signal.SIGCONT)
    lines = asking.all_lines()
    if output == "csv":
        start = next(number for number, line in enumerate(lines) if line.startswith("action,"))
        rows = list(csv.DictReader(io.StringIO("\n".join(line for line in lines[start:] if "," in line))))
        rows = [row for row in rows if row["agent_name"] == "only"]
        assert {(row["state"], row["unfinished"]) for row in rows} == {("working", "yes")}
        files = [row["line"].split()[0] for row in rows]
    else:
        objects = [line.removesuffix(",") for line in lines if line.startswith('{"type":"outcome"')]
        (outcome,) = map(orjson.loads, objects)
        assert (outcome["state"], outcome["unfinished"]) == ("working", True)
        assert outcome["reason"] == "it began to answer, and had not ended yet"
        files = files_of([outcome["results"][0]["elements"]])
    assert len(files) == len(set(files))
    assert least >= 1
    assert {Path(path).name for path in files} <= set(NAMES)
    assert len(files) > 100  # a piece has some hundreds
