"""What people and programs see of an investigation."""

from __future__ import annotations

import csv
import io
import json
import pty
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from investigator.console.audience import Audience, Summary
from investigator.console.progress import ProgressLine, progress_wanted
from investigator.console.render import Output, Show, renderer
from investigator.console.render_csv import COLUMNS, csv_text
from investigator.console.render_parts import json_text
from investigator.protocol.action import Action, Operation
from investigator.protocol.piece import Piece
from investigator.protocol.result import Outcome, Result, State

ACTION = Action(
    id="ab" * 16,
    name="n",
    target="all",
    condition=[],
    validfrom=datetime(2026, 11, 24, 3, tzinfo=UTC),
    expireafter=datetime(2026, 11, 24, 4, tzinfo=UTC),
    operations=(Operation(module="file"),),
)


def hit(path: str = "/etc/passwd") -> Result:
    info = {"size": 7, "mode": "-rw-r--r--", "lastmodified": "2020-01-02 03:04:05 +0000 UTC"}
    search = {"paths": ["/etc"], "names": ["x"], "options": {"matchall": True}}
    statistics = {"filescount": 3, "openfailed": 0, "totalhits": 1, "exectime": "1ms"}
    return Result(
        foundanything=True,
        success=True,
        elements={"s1": [{"file": path, "search": search, "fileinfo": info}]},
        statistics=statistics,
    )


def miss() -> Result:
    element = {
        "file": "",
        "search": {"options": {"matchall": True}},
        "fileinfo": {"size": 0, "mode": "", "lastmodified": ""},
    }
    statistics = {"filescount": 3, "openfailed": 0, "totalhits": 0, "exectime": "1ms"}
    return Result(success=True, elements={"s1": [element]}, statistics=statistics)


LINE = "/etc/passwd [lastmodified:2020-01-02 03:04:05 +0000 UTC, mode:-rw-r--r--, size:7] in search 's1'"
FOUND = Outcome(state="found", name="web", results=[hit()])
NOTFOUND = Outcome(state="notfound", name="db", results=[miss()])
REFUSED = Outcome(state="refused", name="mail", code="signature", reason="unknown signer 0123")


BEGUN = Outcome(state="expired", name="web", reason="it began to answer, and had not ended yet", results=[hit()])


@pytest.mark.parametrize("state", ["working", "expired", "found"])
def test_an_answer_of_which_not_all_came_is_marked_and_holds_what_did(state: Any) -> None:
    def told(output: Output, show: Show = "found") -> Shown:
        shown = Shown(output, show)
        shown.to.started(ACTION, targeted=2, expected=2)
        shown.to.outcome("id-web", "web", state, BEGUN, unfinished=True)
        shown.to.outcome("id-db", "db", "found", FOUND)
        shown.to.summary(Summary(ACTION.id, 2, {"found": 1}, 0.4, working=1, interrupted=True))
        return shown

    web, db = json.loads(told("json").stdout.getvalue())["outcomes"]
    assert (web["state"], web["unfinished"]) == (state, True)
    assert web["results"][0]["elements"]["s1"][0]["file"] == "/etc/passwd"
    assert "unfinished" not in db
    rows = list(csv.DictReader(io.StringIO(told("csv").stdout.getvalue())))
    assert [(row["state"], row["line"], row["unfinished"]) for row in rows] == [
        (state, LINE, "yes"),
        ("found", LINE, ""),
    ]
    text = told("text")
    assert text.stdout.getvalue().splitlines() == [f"web {LINE}", f"db {LINE}"]
    if state != "found":
        assert f"{state}: web (it began to answer, and had not ended yet)" in text.stderr.getvalue()
        assert f"web command did not succeed. status={state} (it began" in told("text", "all").stderr.getvalue()


class Shown:
    """A renderer, and what it wrote."""

    def __init__(self, output: Output, show: Show = "found", modules: tuple[str, ...] = ("file",)) -> None:
        self.stdout, self.stderr = io.StringIO(), io.StringIO()
        self.to: Audience = renderer(output, show=show, modules=modules, stdout=self.stdout, stderr=self.stderr)

    def all(self, *outcomes: tuple[str, State, Outcome | None], **more: Any) -> Shown:
        self.to.started(ACTION, targeted=len(outcomes), expected=len(outcomes))
        states: dict[State, int] = {}
        for name, state, outcome in outcomes:
            self.to.progress(targeted=3, answered=1, found=1, failed=0, elapsed_s=0.1)
            self.to.outcome(f"id-{name}", name, state, outcome)
            states[state] = states.get(state, 0) + 1
        self.to.summary(Summary(ACTION.id, len(outcomes), states, 0.4123, **more))
        return self

    @property
    def out(self) -> list[str]:
        return self.stdout.getvalue().splitlines()

    @property
    def err(self) -> list[str]:
        return self.stderr.getvalue().splitlines()


THREE: tuple[tuple[str, State, Outcome | None], ...] = (
    ("web", "found", FOUND),
    ("db", "notfound", NOTFOUND),
    ("mail", "refused", REFUSED),
)


def test_text_has_findings_on_stdout_and_all_else_on_stderr() -> None:
    shown = Shown("text").all(*THREE)
    assert shown.out == [f"web {LINE}"]
    assert shown.err == [
        f"3 agents are targeted, 3 expected to answer. Following action ID {ACTION.id}.",
        "refused: mail (signature: unknown signer 0123)",
        "1 agent has found results",
        "3 targeted: 1 found, 1 notfound, 1 refused in 0.41 s",
    ]


def test_text_shows_findings_as_they_arrive_and_json_with_the_outcome() -> None:
    ahead = Piece(operation=0, number=1, elements=hit().elements)
    for output, show, shown in (("text", "found", f"web {LINE}\n"), ("text", "all", ""), ("ndjson", "found", "")):
        out = io.StringIO()
        audience = renderer(output, show=show, modules=["file"], stdout=out, stderr=io.StringIO())  # type: ignore[arg-type] # a literal
        assert audience.piece("id", "web", ahead) == bool(shown)
        assert out.getvalue() == shown


def test_what_agents_could_not_read_is_said_even_where_they_found_nothing() -> None:
    unread = ["ERROR: open /srv/\x1b[2J: permission denied", "ERROR: open /srv/b: permission denied"]
    partly = Outcome(state="notfound", name="db", results=[Result(success=True, errors=unread)])
    shown = Shown("text").all(("web", "found", FOUND), ("db", "notfound", partly))
    (told,) = [line for line in shown.err if "reported" in line]
    assert told.startswith("1 agent reported 2 errors, such as db: ERROR: open /srv/\\x1b[2J: permission denied")


def test_show_notfound_prints_all_text_of_those_that_found_nothing() -> None:
    shown = Shown("text", "notfound").all(*THREE)
    assert shown.out == [
        "db 0 match found in search 's1'",
        "db Statistics: 3 files checked, 0 failed to open, 0 matched, ran in 1ms.",
        "db command success",
    ]
    assert "refused: mail (signature: unknown signer 0123)" in shown.err
    assert "1 agent has notfound results" in shown.err


def test_show_all_prints_everybody_with_the_state_of_each_command() -> None:
    shown = Shown("text", "all").all(*THREE)
    assert [line for line in shown.out if line.endswith("command success")] == [
        "web command success",
        "db command success",
    ]
    assert "mail command did not succeed. status=refused (signature: unknown signer 0123)" in shown.err
    assert "3 agents have all results" in shown.err


def test_agents_that_did_not_answer_are_grouped_by_state_and_reason() -> None:
    timeout = Outcome(state="timeout", name="x", code="deadline", results=[Result.failed("killed at its deadline")])
    shown = Shown("text").all(
        ("b", "refused", REFUSED),
        ("a", "refused", REFUSED),
        ("c", "refused", Outcome(state="refused", name="c", code="expired")),
        ("d", "timeout", timeout),
        ("e", "offline", None),
        ("f", "expired", None),
    )
    assert shown.out == []
    assert shown.err[1:6] == [
        "timeout: d (deadline: killed at its deadline)",
        "refused: c (expired)",
        "refused: a, b (signature: unknown signer 0123)",
        "expired: f",
        "offline: e",
    ]
    assert shown.err[-1] == "6 targeted: 1 timeout, 3 refused, 1 expired, 1 offline in 0.41 s"


def test_findings_of_an_agent_whose_other_operation_failed_are_not_lost() -> None:
    half = Outcome(state="failed", name="x", code="crashed", results=[hit(), Result.failed("worker ended")])
    shown = Shown("text", modules=("file", "file")).all(("x", "failed", half))
    assert shown.out == [f"x {LINE}"]
    assert "failed: x (crashed: worker ended)" in shown.err


def test_very_many_silent_agents_are_counted_beyond_fifty() -> None:
    shown = Shown("text").all(*((f"host-{number:04}", "offline", None) for number in range(60)))
    assert shown.err[1].endswith("host-0049 and 10 more (-show all names each)")


class Terminal(io.StringIO):
    """What a person looks at."""

    def isatty(self) -> bool:
        return True


def many_of_two_kinds(stdout: io.StringIO) -> tuple[list[str], list[str]]:
    """What is printed, and what is said, of 40 agents that found the same, 2 that found something else and 30 without."""
    err = io.StringIO()
    to = renderer("text", modules=("file",), stdout=stdout, stderr=err)
    to.started(ACTION, targeted=72, expected=72)
    for number in range(40):
        to.outcome(f"id-{number}", f"web-{number:02}", "found", FOUND)
    for name in ("odd-2", "odd-1"):
        to.outcome(f"id-{name}", name, "found", Outcome(state="found", name=name, results=[hit("/etc/shadow"), hit()]))
    for number in range(30):
        to.outcome(f"id-db-{number}", f"db-{number:02}", "notfound", NOTFOUND)
    to.summary(Summary(ACTION.id, 72, {"found": 42, "notfound": 30}, 1.0))
    return stdout.getvalue().splitlines(), err.getvalue().splitlines()


def test_equal_findings_of_many_agents_are_told_as_groups_the_rarest_first_and_a_pipe_gets_every_line() -> None:
    out, err = many_of_two_kinds(io.StringIO())
    assert len(out) == 40 + 2 * 2
    shadow = LINE.replace("passwd", "shadow")
    assert err[1:] == [
        f"2 agents: {shadow} (and 1 more line): odd-1, odd-2",
        f"40 agents: {LINE}: web-00, web-01, web-02, web-03, web-04 and 35 more",
        "30 agents: found nothing",
        "42 agents have found results",
        "72 targeted: 42 found, 30 notfound in 1.00 s",
    ]


def test_a_terminal_is_spared_the_repetitions_and_is_told_how_to_see_them() -> None:
    out, err = many_of_two_kinds(Terminal())
    assert out[:10] == [f"web-{number:02} {LINE}" for number in range(10)]
    assert {line.split()[0] for line in out[10:]} == {"odd-1", "odd-2"}
    assert f"30 of these are not printed; `investigator results {ACTION.id} | less` has every line" in err


def test_reasons_without_end_are_counted() -> None:
    shown = Shown("text").all(
        *((f"h{n:03}", "refused", Outcome(state="refused", name="", code=f"c{n:03}")) for n in range(600))
    )
    assert "refused: h000 (c000)" in shown.err
    assert "refused: 580 more, for 481 more reasons" in shown.err


def test_interruption_and_dropped_answers_are_said() -> None:
    last = Shown("text").all(*THREE, interrupted=True, dropped=2).err[-1]
    assert last.endswith(
        "in 0.41 s; 2 answers dropped, since they did not verify; interrupted, agents may still be running"
    )


@pytest.mark.parametrize("output", ["text", "csv"])
def test_names_paths_and_reasons_cannot_drive_the_terminal_nor_break_lines(output: Any) -> None:
    evil = "\x1b]0;owned\x07\r\n\u202e\x9b2J"
    shown = Shown(output, "all").all(
        (f"n{evil}", "found", Outcome(state="found", name="", results=[hit(f"/tmp/{evil}")])),
        ("m", "refused", Outcome(state="refused", name="", code=f"c{evil}", reason=f"r{evil}")),
        ("o", "failed", Outcome(state="failed", name="", results=[Result.failed(f"e{evil}")])),
    )
    shown.to.warn(f"w{evil}")
    text = shown.stdout.getvalue() + shown.stderr.getvalue()
    assert "\\x1b]0;owned\\x07\\r\\n\\u202e\\x9b2J" in text
    assert not set(text.replace("\r\n", "")) & set("\x1b\x07\r\u202e\x9b")


def test_json_escapes_what_json_itself_lets_through() -> None:
    assert json_text({"a": "\x9b\u202e\U000e0041é"}) == '{"a":"\\u009b\\u202e\\udb40\\udc41é"}'
    assert json_text({"a": "é"}, encoding="ascii") == '{"a":"\\u00e9"}'
    assert json.loads(json_text({"a": "\ud800", "b": 2**80})) == {"a": "\ud800", "b": 2**80}


@pytest.mark.parametrize(
    "elements", [None, 5, "text", [1], {"s1": 3}, {"s1": [{"file": 1}]}, {"s1": [{"file": "x", "search": None}]}]
)
def test_a_result_that_is_no_result_is_shown_as_it_is_instead_of_ending_the_program(elements: Any) -> None:
    odd = Outcome(state="found", name="x", results=[Result(foundanything=True, success=True, elements=elements), hit()])
    for output in ("text", "csv"):
        shown = Shown(output, "all", modules=("file",)).all(("x", "found", odd))
        assert any('"totalhits":1' in line.replace('""', '"') for line in shown.out)
        assert "1 targeted: 1 found in 0.41 s" in shown.err or output == "csv"


def test_ndjson_is_a_line_per_agent_and_a_summary_as_documented() -> None:
    shown = Shown("ndjson").all(*THREE, ("away", "offline", None))
    web, db, mail, away, summary = (json.loads(line) for line in shown.out)
    assert list(web) == ["type", "action", "agent", "state", "code", "reason", "results"]
    assert web["agent"] == {"id": "id-web", "name": "web"}
    assert list(web["results"][0]) == ["foundanything", "success", "elements", "statistics", "errors"]
    assert (db["state"], mail["code"], mail["reason"]) == ("notfound", "signature", "unknown signer 0123")
    assert (away["state"], away["code"], away["results"]) == ("offline", "", [])
    assert summary == {
        "type": "summary",
        "action": ACTION.id,
        "targeted": 4,
        "states": {"found": 1, "notfound": 1, "refused": 1, "offline": 1},
        "elapsed_s": 0.412,
    }
    assert shown.err == []


def test_json_is_one_document_of_the_same() -> None:
    lines = Shown("ndjson").all(*THREE, interrupted=True, dropped=1).out
    document = json.loads(Shown("json").all(*THREE, interrupted=True, dropped=1).stdout.getvalue())
    assert document["type"] == "investigation"
    assert document["action"] == ACTION.id
    assert [*document["outcomes"], document["summary"]] == [json.loads(line) for line in lines]
    assert document["summary"]["interrupted"]
    assert document["summary"]["dropped"] == 1


def test_json_without_any_agent_is_whole_too() -> None:
    assert json.loads(Shown("json").all().stdout.getvalue())["outcomes"] == []


def test_csv_has_a_row_per_line_and_one_for_each_agent_without() -> None:
    shown = Shown("csv").all(*THREE, ("away", "offline", None))
    rows = list(csv.DictReader(io.StringIO(shown.stdout.getvalue(), newline="")))
    assert [row["agent_name"] for row in rows] == ["web", "mail", "away"]
    assert rows[0] == {
        "action": ACTION.id, "agent_id": "id-web", "agent_name": "web", "state": "found", "code": "", "reason": "",
        "operation": "1", "module": "file", "line": LINE, "unfinished": "",
    }  # fmt: skip
    assert (rows[1]["code"], rows[1]["reason"], rows[1]["line"]) == ("signature", "unknown signer 0123", "")
    every = list(csv.DictReader(io.StringIO(Shown("csv", "all").all(*THREE).stdout.getvalue(), newline="")))
    assert {row["agent_name"] for row in every} == {"web", "db", "mail"}


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)"])
def test_a_spreadsheet_takes_no_cell_for_a_formula(text: Any) -> None:
    assert csv_text([[text, "x"]]) == f"'{text},x\r\n"


def test_csv_quotes_what_needs_it() -> None:
    assert csv_text([['a,"b"', "c\nd"]]) == '"a,""b""",c\\nd\r\n'
    assert COLUMNS[0] == "action"


def test_nothing_is_drawn_where_nobody_watches() -> None:
    stream = io.StringIO()
    assert not progress_wanted(stream, stream)
    line = ProgressLine(stream, wanted=False)
    line.show("x", elapsed_s=1)
    line.clear()
    assert stream.getvalue() == ""


def test_a_drawn_line_gives_way_and_is_not_drawn_more_than_ten_times_a_second() -> None:
    stream = io.StringIO()
    line = ProgressLine(stream, wanted=True)
    for tenth in range(5):
        line.show(f"at {tenth}", elapsed_s=tenth * 0.05)
    line.clear()
    line.clear()
    assert stream.getvalue() == "\r\x1b[Kat 0\r\x1b[Kat 2\r\x1b[Kat 4\r\x1b[K"


def test_progress_is_for_a_terminal_with_stdout_not_in_a_pipe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    monkeypatch.setenv("TERM", "xterm")
    master, slave = pty.openpty()
    read_end, write_end = os.pipe()
    with open(slave, "w") as terminal, open(write_end, "w") as pipe, (tmp_path / "out").open("w") as file:
        assert progress_wanted(terminal, terminal)
        assert progress_wanted(file, terminal)
        assert not progress_wanted(pipe, terminal)
        assert not progress_wanted(terminal, pipe)
        monkeypatch.setenv("TERM", "dumb")
        assert not progress_wanted(terminal, terminal)
    os.close(master)
    os.close(read_end)


def test_a_terminal_gets_colours_unless_it_says_no(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for environment, coloured in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
        with monkeypatch.context() as patched:
            patched.setenv("TERM", "xterm")
            patched.delenv("NO_COLOR", raising=False)
            for key, value in environment.items():
                patched.setenv(key, value)
            stderr = Terminal()
            to = renderer("text", modules=["file"], stdout=io.StringIO(), stderr=stderr)
            to.summary(Summary(ACTION.id, 1, {"found": 1}, 0.1))
            assert ("\x1b[32m1 found\x1b[0m" in stderr.getvalue()) is coloured
