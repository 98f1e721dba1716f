"""An action's signed bytes are read strictly: what is read is what was signed, and it is an action."""

import base64
import gzip
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.errors import BadInput
from investigator.protocol import action as actions
from investigator.protocol.action import Action, Operation, check_action, compressed, parse_action
from signed import ACTION_ID, document, written


@given(st.binary())
def test_any_bytes_are_an_action_or_bad_input(text: bytes) -> None:
    with pytest.raises(BadInput):
        parse_action(text)


JUNK = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=40)
    | st.lists(st.integers(), max_size=3)
    | st.dictionaries(st.text(max_size=5), st.integers(), max_size=3)
)
TIMES = st.datetimes(
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))])
).map(datetime.isoformat)


def complaint(call: Callable[[], object]) -> str:
    """What is wrong; nothing where it went well. Any other error than `BadInput` fails the test."""
    try:
        call()
    except BadInput as error:
        return str(error)
    return ""


@given(st.sampled_from(sorted(document())), JUNK | TIMES)
def test_any_value_under_any_key_is_taken_or_bad_input(key: str, value: Any) -> None:
    try:
        text = written(**{key: value})
    except TypeError:  # JSON cannot say it
        return
    told = complaint(lambda: parse_action(text))
    assert told.isprintable()
    if not told:
        parse_action(text).expireafter.astimezone(UTC)


@given(st.builds(dict, name=st.text(min_size=1, max_size=50), target=st.text(min_size=1, max_size=50)))
def test_what_is_encoded_is_read_back_equal(texts: dict[str, Any]) -> None:
    try:
        action = parse_action(
            written(**texts, threat={"level": "high"}, sealto=base64.b64encode(bytes([9, *bytes(31)])).decode())
        )
    except TypeError:  # a lone surrogate
        return
    assert parse_action(action.encode()) == action
    assert action.encode() == parse_action(action.encode()).encode()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"type": ...}, "type: missing"),
        ({"type": "cancel"}, "type: "),
        ({"type": "Action"}, "type: "),
        ({"extra": 1}, "unknown field 'extra'"),
        ({"ID": ACTION_ID}, "unknown field 'ID'"),
        ({"condition": ...}, "condition"),
        ({"operations": []}, "operations"),
        ({"operations": [{"module": "x", "parameters": {}}] * 1001}, "operations"),
        ({"operations": [{"module": "", "parameters": {}}]}, "module"),
        ({"operations": [{"module": "x", "Parameters": {}}]}, "unknown field 'Parameters'"),
        ({"name": ""}, "name"),
        ({"name": "x" * 2049}, "name"),
        ({"syntaxversion": 1}, "syntaxversion"),
        ({"syntaxversion": "2"}, "syntaxversion"),
        ({"id": ACTION_ID.upper()}, "id: not 32"),
        ({"id": ACTION_ID + "\n"}, "id: not 32"),
        ({"id": ACTION_ID[:-1] + "٣"}, "id: not 32"),
        ({"id": "../" + ACTION_ID[3:]}, "id: not 32"),
        ({"validfrom": "2026-11-24T03:00:00"}, "validfrom"),
        ({"validfrom": 1795500000}, "validfrom"),
        ({"validfrom": "2026-11-24T03:00:00Z", "expireafter": "2026-11-24T03:00:00Z"}, "not later than validfrom"),
        ({"validfrom": "2026-11-24T03:00:00Z", "expireafter": "2026-12-24T03:00:01Z"}, "more than 30 days"),
        ({"validfrom": "0001-01-01T00:00:00+14:00", "expireafter": "0001-01-01T01:00:00+14:00"}, "the year 1;"),
        ({"validfrom": "9999-12-31T22:00:00-12:00", "expireafter": "9999-12-31T23:00:00-12:00"}, "the year 9999"),
        ({"sealto": "AAAA"}, "sealto"),
        ({"sealto": ""}, "sealto"),
        ({"sealto": "é" * 44}, "sealto"),
        ({"sealto": base64.b64encode(bytes(32)).decode()}, "low order"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_action(written(**changes))
    assert told in str(caught.value)
    assert str(caught.value).startswith("action: ")


def test_a_key_given_twice_in_the_signed_bytes_is_refused() -> None:
    text = written().replace(b'"target":"all"', b'"target":"all","target":"all"')
    with pytest.raises(BadInput, match="'target' stands twice"):
        parse_action(text)


def test_whole_floats_are_integers_as_in_migs_files_and_texts_are_not() -> None:
    assert parse_action(written(syntaxversion=2.0)).syntaxversion == 2
    with pytest.raises(BadInput):
        parse_action(written(syntaxversion=2.5))


def test_thirty_days_are_taken_whole() -> None:
    parse_action(written(validfrom="2026-11-24T03:00:00Z", expireafter="2026-12-24T03:00:00Z"))


def test_the_console_is_held_to_the_same_rules_as_the_agent() -> None:
    with pytest.raises(BadInput, match="id: not 32"):
        check_action(
            Action(
                id="1",
                name="x",
                target="all",
                condition=[],
                validfrom=datetime(2026, 1, 1, tzinfo=UTC),
                expireafter=datetime(2026, 1, 2, tzinfo=UTC),
                operations=(Operation(module="x"),),
            )
        )


def squeezed(text: bytes) -> Operation:
    return Operation(module="file", parameters=base64.b64encode(text).decode(), is_compressed=True)


@given(st.dictionaries(st.text(), st.integers(0, 9)))
def test_compressed_parameters_open_to_what_they_were(parameters: dict[str, int]) -> None:
    operation = Operation(module="file", parameters=parameters)
    assert compressed(operation).opened() == parameters
    assert compressed(compressed(operation)) == compressed(operation)


@given(st.binary() | st.binary().map(gzip.compress) | st.binary().map(zlib.compress))
def test_any_compressed_bytes_open_or_are_bad_input(text: bytes) -> None:
    told = complaint(squeezed(text).opened)
    assert not told or told.startswith("operation file: ")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (gzip.compress(b"{}")[:-3], "cut short"),
        (gzip.compress(b"{}") + b"x", "something follows"),
        (gzip.compress(b"{}") + gzip.compress(b"{}"), "something follows"),
        (gzip.compress(b'{"a":1,"a":2}'), "stands twice"),
        (b"", "cut short"),
        (zlib.compress(b"{}"), "do not open"),
    ],
    ids=["cut", "and a byte", "two", "duplicate keys", "nothing", "zlib"],
)
def test_compressed_parameters_are_one_whole_gzip_of_strict_json(text: bytes, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        squeezed(text).opened()


def test_a_bomb_stops_at_the_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "MAX_OPENED_PARAMETER_BYTES", 1000)
    with pytest.raises(BadInput, match="over 1,000 bytes"):
        squeezed(gzip.compress(b" " * 10_000_000)).opened()
    assert squeezed(gzip.compress(b"[" + b" " * 998 + b"]")).opened() == []


@pytest.mark.parametrize("parameters", [{}, 3, None, ["x"], "é", "====", "AA=A"])
def test_what_is_no_base64_is_bad_input(parameters: object) -> None:
    with pytest.raises(BadInput, match=r"do not open|cut short"):
        Operation(module="file", parameters=parameters, is_compressed=True).opened()


def test_parameters_are_not_looked_into_before_the_gate() -> None:
    operation = {"module": "file", "parameters": "no base64 at all", "is_compressed": True}
    assert parse_action(orjson.dumps(document(operations=[operation]))).operations[0].is_compressed
