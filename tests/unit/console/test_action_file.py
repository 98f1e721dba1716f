"""Action files: MIG's, our own, and signed ones."""

from __future__ import annotations

import base64
import contextlib
import gzip
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from investigator.console import action_file
from investigator.console.action_file import AskedFor, read_action_file
from investigator.errors import BadInput
from investigator.protocol.action import Action, Operation

CORPUS = Path(__file__).parents[2] / "corpus" / "actions"
SEARCHES = {"s1": {"paths": ["/etc"], "names": ["^passwd$"]}}
OPERATION = {"module": "file", "parameters": {"searches": SEARCHES}}
LEAST = {"name": "find it", "target": "os='linux'", "operations": [OPERATION]}


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def read_document(document: object, *, local: bool = False) -> AskedFor:
        path = tmp_path / "action.json"
        path.write_bytes(document if isinstance(document, bytes) else json.dumps(document).encode())
        return read_action_file(path, local=local)

    return read_document


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.json")), ids=lambda path: path.stem)
def test_every_file_of_the_corpus_loads(path: Any) -> None:
    asked = read_action_file(path)
    assert asked.name
    assert all(operation.module == "file" for operation in asked.operations)


def test_an_exported_action_of_migs_loads_without_what_the_server_wrote() -> None:
    asked = read_action_file(CORPUS / "mig-exported.json")
    assert asked.name == "Persistence in cron"
    assert asked.target == "environment->>'os'='linux' AND name LIKE '%build%'"
    assert asked.description == {"author": "An Analyst", "email": "analyst@example.net", "revision": 201409021000}
    assert asked.threat == {"level": "alert", "family": "backdoor"}
    assert (asked.validfrom, asked.expireafter, asked.envelope) == (None, None, None)
    (operation,) = asked.operations
    assert operation.parameters["searches"] == {
        "cron": {"paths": ["/etc/cron.d"], "contents": ["curl .*\\|"], "options": {"matchall": True}}
    }
    assert len(asked.notes) == 1
    assert "signed anew" in asked.notes[0]


def test_compressed_parameters_stay_as_they_are_and_are_validated() -> None:
    asked = read_action_file(CORPUS / "mig-compressed.json")
    (operation,) = asked.operations
    assert operation.is_compressed
    assert operation.opened() == {"searches": {"s1": {"paths": ["/usr/bin"], "names": ["^ssh"]}}}


def test_searches_at_the_top_are_taken_as_such_and_said() -> None:
    asked = read_action_file(CORPUS / "mig-before-searches.json")
    assert set(asked.operations[0].parameters) == {"searches"}
    assert "searches stand at the top" in asked.notes[0]


def test_keys_match_in_any_case_at_every_level(read: Any) -> None:
    asked = read(
        {
            "NAME": "n",
            "Target": "all",
            "Description": {"Author": "a", "Note": "kept"},
            "OPERATIONS": [{"Module": "file", "Parameters": {"Searches": {"S1": {"Paths": ["/x"], "Names": ["y"]}}}}],
        }
    )
    assert asked.operations[0].parameters == {"searches": {"S1": {"paths": ["/x"], "names": ["y"]}}}
    assert asked.description == {"author": "a", "Note": "kept"}


def test_wanted_compression_is_done(read: Any) -> None:
    (operation,) = read({**LEAST, "operations": [{**OPERATION, "want_compressed": True}]}).operations
    assert operation.is_compressed
    assert operation.opened() == OPERATION["parameters"]


def test_loose_compressed_parameters_are_packed_again_with_our_keys(read: Any) -> None:
    loose = {"Searches": {"s1": {"Paths": ["/x"], "names": ["y"]}}}
    packed = base64.b64encode(gzip.compress(json.dumps(loose).encode())).decode()
    (operation,) = read(
        {**LEAST, "operations": [{"module": "file", "parameters": packed, "is_compressed": True}]}
    ).operations
    assert operation.is_compressed
    assert operation.opened() == {"searches": {"s1": {"paths": ["/x"], "names": ["y"]}}}


def test_times_that_are_set_are_kept(read: Any) -> None:
    asked = read({**LEAST, "validfrom": "2026-11-24T03:00:00Z", "expireafter": "2026-11-24T05:00:00.123456789+02:00"})
    assert asked.validfrom == datetime(2026, 11, 24, 3, tzinfo=UTC)
    assert asked.expireafter is not None
    assert asked.expireafter.astimezone(UTC).hour == 3


def test_a_signed_envelope_is_taken_as_it_is(read: Any) -> None:
    action = Action(
        id="ab" * 16,
        name="signed",
        target="all",
        condition=["true"],
        validfrom=datetime(2026, 11, 24, 3, tzinfo=UTC),
        expireafter=datetime(2026, 11, 24, 4, tzinfo=UTC),
        operations=(Operation(module="file", parameters={"searches": SEARCHES}),),
    )
    text = action.encode().decode()
    asked = read({"v": 1, "action": text, "pgpsignatures": ["s"]})
    assert asked.envelope is not None
    assert asked.envelope.action == text
    assert (asked.name, asked.target) == ("signed", "all")


def test_our_own_unsigned_action_loads(read: Any) -> None:
    asked = read({"type": "action", "id": "00" * 16, "condition": [], "sealto": None, "syntaxversion": 2, **LEAST})
    assert asked.name == "find it"


def test_a_relative_path_is_for_this_machine_only(read: Any) -> None:
    document = {**LEAST, "operations": [{"module": "file", "parameters": {"searches": {"s": {"paths": ["etc"]}}}}]}
    with pytest.raises(BadInput, match=r"operation 1: searches\.s\.paths: 'etc' is relative"):
        read(document)
    assert read(document, local=True).operations
    assert read({**document, "target": "local"}).operations


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"operations": []}, "operations: Expected `array` of length >= 1"),
        ({"operations": None}, "missing required field 'operations'"),
        ({"operations": {}}, "operations: Expected 'array', got 'object'"),
        ({"operations": [{"parameters": {}}]}, "operation 1: Object missing required field 'module'"),
        ({"operations": [OPERATION, {"module": "connected"}]}, "operation 2: module 'connected' is not available"),
        ({"operations": [{**OPERATION, "modul": 1}]}, "operation 1: Object contains unknown field 'modul'"),
        ({"operations": [{"module": "file", "parameters": 3}]}, "operation 1: module file: parameters: Expected"),
        ({"operations": [{"module": "file"}]}, "operation 1: module file: parameters: Expected"),
        (
            {"operations": [{"module": "file", "parameters": {"searches": {"s": {"path": ["/"]}}}}]},
            "there is no parameter 'path'; did you mean 'paths'?",
        ),
        (
            {"operations": [{"module": "file", "parameters": {"searches": {"s": {"paths": ["/"], "names": ["(a"]}}}}]},
            "does not compile: missing ) at character 1",
        ),
        (
            {"operations": [{"module": "file", "parameters": "no base64", "is_compressed": True}]},
            "operation 1: operation file: compressed parameters do not open",
        ),
        (
            {"operations": [{"module": "file", "parameters": {"searches": SEARCHES, "Searches": {}}}]},
            "'searches' stands there twice, in different cases",
        ),
        ({"name": 3}, "name: Expected 'str', got 'int'"),
        ({"Name": "again"}, "the key 'name' stands there twice, in different cases"),
        ({"description": "text"}, "description: Expected 'object"),
        ({"validfrom": "yesterday"}, "validfrom: Invalid RFC3339"),
        ({"validfrom": "2026-11-24T03:00:00"}, "validfrom: Expected 'datetime' with a timezone"),
        ({"syntaxversion": 1}, "syntaxversion: Invalid enum value 1"),
        ({"operation": []}, "an action has no key 'operation'; did you mean 'operations'?"),
    ],
)
def test_what_is_wrong_is_one_line_that_says_where(read: Any, change: Any, message: Any) -> None:
    document = {**LEAST, **change}
    with pytest.raises(BadInput) as caught:
        read(document)
    text = str(caught.value)
    assert message.replace("`", "'").casefold() in text.casefold()
    assert "\n" not in text


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "no JSON"),
        (b"[]", "no action: a JSON object is expected"),
        (json.dumps(LEAST).encode()[:-20], "no JSON: "),
        (b'{"name":"a","name":"b"}', "the key 'name' stands twice"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "no JSON: "),
        (b'{"name":"\xff"}', "no JSON"),
        (b'{"v":1,"action":"{}","pgpsignatures":[]}', "action: "),
        (b'{"v":2,"action":"{}","pgpsignatures":[]}', "envelope: v"),
    ],
)
def test_truncated_and_broken_json_is_refused_with_its_place(read: Any, raw: Any, message: Any) -> None:
    with pytest.raises(BadInput) as caught:
        read(raw)
    assert message in str(caught.value)


def test_an_oversized_file_is_not_read_to_its_end(read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(action_file, "MAX_FILE_BYTES", 100)
    with pytest.raises(BadInput, match="101 bytes; 100 at most"):
        read(b'{"name":"' + b"x" * 1000 + b'"}')


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="No such file or directory"):
        read_action_file(tmp_path / "none.json")
    with pytest.raises(BadInput, match="Is a directory"):
        read_action_file(tmp_path)


def test_standard_input_is_a_dash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(json.dumps(LEAST).encode())))
    assert read_action_file(Path("-")).name == "find it"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from([*LEAST, "Name", "id", "validfrom", "threat", "parameters"]), json_values))
def test_any_object_is_an_action_or_a_refusal(read: Any, document: Any) -> None:
    with contextlib.suppress(BadInput):
        assert isinstance(read({**LEAST, **document}), AskedFor)
