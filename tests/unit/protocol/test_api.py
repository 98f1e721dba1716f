"""Requests of scripts are read strictly, whatever they hold; replies are what the schema says."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.errors import BadInput, BadTarget
from investigator.protocol import api

ENVELOPE = {"v": 1, "action": "{}", "pgpsignatures": []}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
REPLIES: list[api.Reply] = [
    api.Started(action="a", digest="d", envelope="e", targeted=1, expected=1),
    api.Payload(action="a", agent=api.Named(id="i", name="n"), sealed=True, payload="AQ=="),
    api.StateChange(action="a", agent=api.Named(id="i", name="n"), state="answered"),
    api.TallyNow(action="a", targeted=1, states={"answered": 1}, elapsed_s=0.5),
    api.Notice(text="t"),
    api.Over(action="a"),
    api.AgentRow(id="i", name="n", status="online", last_seen=datetime.now(UTC), row={"starttime": datetime.now(UTC)}),
    api.Cancelled(action="a", digest="d"),
]


@pytest.mark.parametrize("shape", api.METHODS.values())
@given(raw=st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_request_or_bad_input(shape: type[api.Request], raw: bytes) -> None:
    problem = ""
    try:
        assert isinstance(api.read_request(raw, shape), shape)
    except BadInput as error:
        problem = str(error)
    assert problem.isprintable()


@pytest.mark.parametrize(
    ("shape", "document"),
    [
        (api.Run, {"envelope": ENVELOPE}),
        (api.Run, {"envelope": ENVELOPE, "sealto": None}),
        (api.Run, {"envelope": ENVELOPE, "sealto": "none", "until": "later"}),
        (api.Run, {"envelope": {**ENVELOPE, "about": ENVELOPE}, "sealto": "none"}),
        (api.Run, {"envelope": {**ENVELOPE, "pgpsignatures": [""] * 17}, "sealto": "none"}),
        (api.Agents, {"target": ""}),
        (api.Agents, {"target": "x" * 2049}),
        (api.Results, {"action": "A" * 32}),
        (api.Results, {"action": "a" * 32 + "\n"}),
        (api.Results, {"action": "a" * 32, "follow": 1}),
        (api.Cancel, {"envelope": {"action": "{}"}}),
    ],
)
def test_what_is_not_quite_a_request_is_none(shape: type[api.Request], document: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=r"^request: "):
        api.read_request(orjson.dumps(document), shape)


def test_one_byte_too_many_is_refused_unread() -> None:
    with pytest.raises(BadInput, match="bytes"):
        api.read_request(b" " * (api.MAX_REQUEST_BYTES + 1), api.Agents)


def test_nothing_at_all_asks_with_the_defaults() -> None:
    assert api.read_request(b"", api.Agents) == api.Agents(target="all")


@pytest.mark.parametrize("reply", REPLIES, ids=lambda reply: type(reply).__name__)
def test_a_reply_says_what_it_is_and_reads_back(reply: api.Reply) -> None:
    raw = api.encode(reply)
    assert msgspec.json.decode(raw, type=api.Replies).__class__ is reply.__class__
    assert b"\n" not in raw


def test_an_error_that_quotes_others_is_one_harmless_line() -> None:
    told = orjson.loads(api.encode(api.failure(BadTarget("no\x1b[2Jway\nout" + "x" * 5000, hint="h"))))
    assert told["error"].isprintable()
    assert len(told["error"]) <= 600
    assert (told["code"], told["hint"]) == ("bad-target", "h")


def test_the_schema_has_every_request_and_reply_and_refuses_unknown_keys() -> None:
    document = api.schema()
    assert set(document["requests"]) == set(api.METHODS)
    for method, shape in api.METHODS.items():
        assert document["requests"][method] == {"$ref": f"#/$defs/{shape.__name__}"}
        assert document["$defs"][shape.__name__]["additionalProperties"] is False
    names = {orjson.loads(api.encode(reply))["type"] for reply in REPLIES}
    assert names <= set(document["reply"]["anyOf"][0]["discriminator"]["mapping"])
