"""`investigator audit` without a broker: what it prints, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from investigator import cli
from investigator.agent.audit import Audit
from investigator.protocol.audit import Entry

ACTION = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A deployment with the state of one agent, and no console."""
    monkeypatch.setenv("INVESTIGATOR_HOME", str(tmp_path))
    folder = tmp_path / "agents" / "web-1"
    folder.mkdir(parents=True)
    with Audit(folder, agent="a", key_is_new=True, clock=lambda: 1_795_500_000.0) as audit:
        audit.decided("action", "admitted", action=ACTION, name="who", signers=["AB" * 20], operations=["file", "pkg"])
        audit.ended(ACTION, "d", "timeout", "deadline")
        audit.skip()
        audit.decided("action", "refused", action="f" * 32, code="signature", reason="no signature")
    return tmp_path


def test_decisions_are_lines_that_people_read(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["audit", "show"]) == 0
    assert [line.split("  ", 1)[1].strip() for line in capsys.readouterr().out.splitlines()] == [
        "1  chain     first: this is the agent's first start",
        f"2  admitted  action {ACTION} 'who'  file, pkg  signed by {'AB' * 20}",
        f"3  ended     action {ACTION}  timeout  deadline",
        f"4  refused   action {'f' * 32}  signature: no signature  (and 1 before it without a line)",
    ]


def test_lines_are_chosen_by_action_and_by_time(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, count in (
        (["--action", ACTION[:6]], 2),
        (["--since", "2026-11-24"], 4),
        (["--since", "2026-11-24T06:00:00Z"], 4),
        (["--since", "2026-11-24T06:00:01Z"], 0),
        (["--since", "2026-11-24T08:00:00.5+02:00"], 0),
    ):
        assert cli.main(["audit", "show", "--output", "json", *words]) == 0
        assert len(orjson.loads(capsys.readouterr().out)["lines"]) == count


def test_nothing_in_a_line_drives_the_terminal(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Audit(home / "agents" / "web-1", agent="a", key_is_new=False) as audit:
        audit.record(Entry(kind="decision", type="\x1b[2J", verdict="\x9b2J", name="\u202e", reason="\n"))
    for output in ("text", "json", "ndjson"):
        assert cli.main(["audit", "show", "--output", output]) == 0
        assert not {"\x1b", "\x9b"} & set(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["show", "--since", "yesterday"], 2, "invalid duration 'yesterday'"),
        (["show", "--output", "csv"], 2, "--output csv: an audit is shown as text, json or ndjson"),
        (["heads", "--output", "csv"], 2, "--output csv: heads are listed as text, json or ndjson"),
        (["show", "--state", "/nowhere"], 5, "/nowhere: there is no audit"),
        (["verify", "/nowhere/audit.jsonl"], 5, "/nowhere/audit.jsonl: No such file or directory"),
        (["verify", "--against", "/nowhere"], 5, "/nowhere: No such file or directory"),
        (["verify", "--agent", "b"], 3, "it is of agent a, not of b"),
        (["verify", "--from", "0"], 2, "'--from': Input should be greater than or equal to 1"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(
    home: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, message: str
) -> None:
    assert cli.main(["audit", *words]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err.splitlines()[0]


def test_a_chain_that_holds_says_with_what_it_was_compared(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["audit", "verify"]) == 0
    assert capsys.readouterr().out == (
        "lines 1 to 4 of agent a: the chain holds; it was compared with nothing: --against takes what a console has\n"
    )


def test_every_agent_of_a_deployment_is_checked_though_one_is_broken(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("web-0", "web-2"):
        (home / "agents" / name).mkdir()
        Audit(home / "agents" / name, agent=name, key_is_new=True).__exit__(None, None, None)
    path = home / "agents" / "web-1" / "audit.jsonl"
    path.write_bytes(path.read_bytes().replace(b"timeout", b"found"))
    assert cli.main(["audit", "verify"]) == 3
    out, err = capsys.readouterr()
    assert [line.split(":")[0] for line in out.splitlines()] == [
        "lines 1 to 1 of agent web-0",
        "lines 1 to 1 of agent web-2",
    ]
    assert "web-1" in err
    assert "line 4 does not follow from line 3" in err
