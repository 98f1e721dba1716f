"""Each event is one line, whatever stands in it, and its action's id is where grep finds it."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.errors import DeploymentError
from investigator.logs import MAX_PROBLEMS, JsonLines, Logs, LogSettings, Origin, PlainText, about, is_journal
from investigator.printable import UNSAFE

HOSTILE = 'x\n2026-11-24 ERROR all is lost\r\x1b[2J\u202e\u2028"\\\x7f\x85'


def record(text: str, level: int = logging.WARNING, **fields: Any) -> logging.LogRecord:
    made = logging.LogRecord("investigator.x", level, "x.py", 1, "%s", (text,), None)
    made.__dict__.update(about("happened", **fields))
    return made


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@given(
    st.text(), st.text(), st.dictionaries(st.text(max_size=9), st.integers() | st.text() | st.booleans(), max_size=4)
)
def test_a_json_line_is_one_line_of_json_that_drives_no_terminal(text: str, action: str, more: dict[str, Any]) -> None:
    made = record(text)
    made.__dict__["about"] = {**more, "action": action}
    line = JsonLines(Origin("agent")).format(made)
    assert UNSAFE.search(line) is None
    assert isinstance(json.loads(line), dict)


def test_what_others_wrote_breaks_no_line_of_text_either() -> None:
    for form in (PlainText(), PlainText(for_journal=True)):
        text = form.format(record(HOSTILE, action=HOSTILE))
        assert UNSAFE.search(text) is None
        assert r"\n2026-11-24 ERROR all is lost\r\x1b[2J" in text


def test_a_traceback_cannot_pass_for_lines_of_the_log() -> None:
    made = record("a defect")
    try:
        int(HOSTILE)
    except ValueError:
        made.exc_info = sys.exc_info()
    first, *rest = PlainText().format(made).split("\n")
    assert first.endswith("WARNING a defect")
    assert all(line.startswith("    ") for line in rest)
    assert any("2026-11-24 ERROR" in line for line in rest)
    told = json.loads(JsonLines(Origin("agent")).format(made))
    assert told["traceback"][0] == "Traceback (most recent call last):"


def test_an_action_that_a_message_does_not_name_stands_behind_it() -> None:
    assert PlainText().format(record("done", action="ab12")).endswith("WARNING done action=ab12")
    assert PlainText().format(record("action ab12 done", action="ab12")).endswith("WARNING action ab12 done")


def test_long_texts_are_cut() -> None:
    line = JsonLines(Origin("agent")).format(record("y" * 100_000, reason="z" * 100_000))
    assert len(line) < 6000


def test_a_file_tells_the_whole_story_and_standard_error_the_warnings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])  # pytest's own would take the place of standard error
    path = tmp_path / "logs" / "agent.jsonl"
    log = logging.getLogger("investigator.test")
    with Logs("agent", LogSettings(file=path)) as logs:
        log.info("action %s admitted", "ab12", extra=about("admitted", action="ab12", digest="00ff", signers=["A"]))
        logs.origin.agent = "agent-1"
        log.warning("action %s refused", "cd34", extra=about("refused", action="cd34", code="", took_s=0.5))
        log.debug("nothing that anybody wants")
    log.warning("after its end")
    first, second = lines(path)
    assert (first["event"], first["action"], first["digest"], first["signers"]) == ("admitted", "ab12", "00ff", ["A"])
    assert (first["level"], first["program"], first["message"]) == ("info", "agent", "action ab12 admitted")
    assert "agent" not in first
    assert (second["agent"], second["action"], second["took_s"]) == ("agent-1", "cd34", 0.5)
    assert "code" not in second
    assert path.stat().st_mode & 0o777 == 0o600
    said = capsys.readouterr().err
    assert "WARNING action cd34 refused" in said
    assert "ab12" not in said


def test_the_level_that_is_said_counts_for_both(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])
    path = tmp_path / "agent.jsonl"
    with Logs("agent", LogSettings(file=path, level="error", format="json")):
        logging.getLogger("investigator.test").warning("a warning")
        logging.getLogger("investigator.test").error("an error")
    assert [line["message"] for line in lines(path)] == ["an error"]
    assert [json.loads(line)["message"] for line in capsys.readouterr().err.splitlines()] == ["an error"]


def test_a_file_that_cannot_be_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").touch()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe", "elsewhere/file"):
        with pytest.raises(DeploymentError, match=r"^\[log\] file "):
            Logs("agent", LogSettings(file=tmp_path / name), bare=True)
    assert logging.root.level != logging.INFO


def test_the_last_problems_are_kept_each_once() -> None:
    with Logs("agent", LogSettings(), bare=True) as logs:
        log = logging.getLogger("investigator.test")
        for number in range(2 * MAX_PROBLEMS):
            log.warning("trouble %d", number)
            log.error("again")
    assert len(logs.problems.last()) == MAX_PROBLEMS
    newest = logs.problems.last()[-1]
    assert (newest.text, newest.level, newest.count) == ("again", "error", 2 * MAX_PROBLEMS)


def test_the_journal_is_known_by_its_file_and_is_told_levels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "journal").open("w") as stream:
        found = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        assert is_journal(stream)
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino + 1}")
        assert not is_journal(stream)
    assert not is_journal(io.StringIO())
    levels = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)
    text = [PlainText(for_journal=True).format(record("so", level)) for level in levels]
    assert text == ["<7>so", "<6>so", "<4>so", "<3>so", "<2>so"]
