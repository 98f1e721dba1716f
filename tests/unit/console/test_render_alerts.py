"""Alerts on a terminal and in files: nothing that an agent wrote drives either."""

import csv
import io

import orjson
import pytest

from investigator.console.alerts import Kept
from investigator.console.render_alerts import CSV_COLUMNS, AlertWriter
from investigator.protocol.alert import Alert, Letter

ALERT = Alert(severity="high", alert="x\x1b[2J\n=cmd()", time_s=1_795_522_709.5, details={"path": "/a\u202e"})


def written(output, *letters):
    out = io.StringIO()
    with AlertWriter(output, out) as writer:
        for kept in letters:
            writer.write(kept, kept.letter.alerts)
    return out.getvalue()


def kept(*alerts, name="web\x1b]0;pwn\x07"):
    return Kept("0123456789ab", Letter(agent="a1", key="", module="fswatch", name=name, alerts=list(alerts)), [1])


def test_text_is_one_printable_line_an_alert():
    lines = written("text", kept(ALERT, ALERT)).splitlines()
    assert len(lines) == 2
    assert lines[0] == r"0123456789ab  2026-11-24T12:18:29Z  high      web\x1b]0;pwn\x07  fswatch: x\x1b[2J\n=cmd()"


def test_ndjson_and_json_hold_the_same_and_no_escape():
    text = written("ndjson", kept(ALERT), kept(ALERT))
    documents = [orjson.loads(line) for line in text.splitlines()]
    assert documents[0] == {
        "type": "alert",
        "id": "0123456789ab",
        "time": "2026-11-24T12:18:29Z",
        "agent": {"id": "a1", "name": "web\x1b]0;pwn\x07"},
        "module": "fswatch",
        "severity": "high",
        "alert": "x\x1b[2J\n=cmd()",
        "details": {"path": "/a\u202e"},
    }
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert orjson.loads(written("json", kept(ALERT), kept(ALERT))) == {"alerts": documents}


def test_nothing_is_valid_too():
    assert orjson.loads(written("json")) == {"alerts": []}
    assert written("ndjson") == written("text") == ""


def test_csv_has_its_head_and_no_formula():
    rows = list(csv.reader(io.StringIO(written("csv", kept(ALERT, Alert(severity="low", alert="=1+1", time_s=0))))))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert not rows[2][6].startswith("=")


@pytest.mark.parametrize("moment_s", [0.0, 2.0**40])
def test_any_time_can_be_shown(moment_s):
    assert written("text", kept(Alert(severity="low", alert="x", time_s=moment_s))).count("\n") == 1
