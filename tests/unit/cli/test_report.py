"""What went wrong, as a person reads it."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from investigator.cli.report import caret, report
from investigator.errors import BadInput, BadRegex, BrokerError, DeploymentError, Incomplete, InvestigatorError, Refused


def said(capsys: pytest.CaptureFixture[str], error: BaseException, **options: bool) -> tuple[int, list[str]]:
    code = report(error, program="investigator", **options)
    out, err = capsys.readouterr()
    assert out == ""
    return code, err.splitlines()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvestigatorError("x"), 1),
        (BadInput("x"), 2),
        (Refused("x"), 3),
        (BrokerError("x"), 4),
        (DeploymentError("x"), 5),
        (Incomplete("x"), 6),
    ],
)
def test_each_error_of_the_tree_is_one_line_and_its_own_exit_code(
    capsys: pytest.CaptureFixture[str], error: Any, code: Any
) -> None:
    assert said(capsys, error) == (code, ["investigator: x"])


def test_a_hint_is_a_second_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, BadInput("no", hint="do that")) == (2, ["investigator: no", "  do that"])


def test_what_others_wrote_in_a_message_stays_one_line_and_drives_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, lines = said(capsys, BadInput("bad \x1b[2J\nname", hint="\x07"))
    assert lines == ["investigator: bad \\x1b[2J\\nname", "  \\x07"]


def test_a_regular_expression_is_shown_with_a_caret_under_the_place(capsys: pytest.CaptureFixture[str]) -> None:
    _, lines = said(capsys, BadRegex("does not compile", pattern="ab(c", position=2))
    assert lines[1:] == ["  ab(c", "    ^"]


def test_the_caret_is_right_behind_wide_characters_and_escapes_and_in_long_texts() -> None:
    assert caret("世(", 1) == ["  世(", "    ^"]
    assert caret("\t(", 1) == ["  \\t(", "    ^"]
    text, mark = caret("x" * 500 + "(" + "y" * 500, 500)
    assert len(text) < 80
    assert text[len(mark) - 1] == "("


def test_a_full_disk_is_said_with_the_file_and_exits_5(capsys: pytest.CaptureFixture[str]) -> None:
    error = OSError(errno.ENOSPC, "No space left on device", "/var/store.db")
    assert said(capsys, error) == (5, ["investigator: /var/store.db: No space left on device"])


def test_an_internal_error_is_one_line_and_a_traceback_only_for_who_asks(capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = said(capsys, ValueError("odd"))
    assert code == 1
    assert lines[0] == "investigator: internal error: ValueError: odd"
    assert "INVESTIGATOR_DEBUG=1" in lines[1]
    assert not any("Traceback" in line for line in lines)
    with pytest.raises(ValueError, match="odd") as caught:
        int("odd")
    _, lines = said(capsys, caught.value, debug=True)
    assert any("test_report.py" in line for line in lines)


def test_of_several_errors_at_once_ours_is_told_and_an_interruption_wins(capsys: pytest.CaptureFixture[str]) -> None:
    group = ExceptionGroup("", [ValueError("a"), ExceptionGroup("", [BrokerError("gone")])])
    assert said(capsys, group) == (4, ["investigator: gone"])
    assert said(capsys, BaseExceptionGroup("", [BrokerError("gone"), KeyboardInterrupt()])) == (130, [])
