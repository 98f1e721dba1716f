"""Letters of alerts: signed, capped, bound to their agent and module."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.errors import BadInput, Refused
from investigator.protocol.alert import (
    MAX_ALERT_BYTES,
    MAX_ALERTS,
    MAX_LETTER_BYTES,
    MAX_TEXT_CHARACTERS,
    Alert,
    alert_bytes,
    letter_id,
    pack_alerts,
    unpack_alerts,
)
from investigator.protocol.identity import ALERTS, FACTS, BadFrame, Identity

WEB = Identity(b"w" * 32)


def alert(text="P changed", **more):
    return Alert(**{"severity": "low", "alert": text, "time_s": 1.5, **more})


def packed(*alerts, identity=WEB, module="fswatch"):
    return list(pack_alerts(alerts, identity, module=module, name="web-1"))


def test_what_is_packed_comes_back_in_order():
    told = [alert("one"), alert("two", severity="critical", details={"old": "1"})]
    (payload,) = packed(*told)
    letter = unpack_alerts(payload, agent=WEB.id, module="fswatch")
    assert (letter.agent, letter.module, letter.name, letter.alerts) == (WEB.id, "fswatch", "web-1", told)


def test_many_alerts_fill_letters_that_all_fit():
    told = [alert(f"{number} " + "x" * 15_000) for number in range(20)] + [alert(str(n)) for n in range(MAX_ALERTS + 1)]
    payloads = packed(*told)
    assert all(len(payload) <= MAX_LETTER_BYTES for payload in payloads)
    assert len(payloads) < 8
    letters = [unpack_alerts(payload, agent=WEB.id, module="fswatch") for payload in payloads]
    assert [one for letter in letters for one in letter.alerts] == told
    assert packed() == []


@pytest.mark.parametrize(
    "bad",
    [
        alert("x" * (MAX_TEXT_CHARACTERS + 1)),
        alert(""),
        alert(details={"x": "y" * MAX_ALERT_BYTES}),
        alert(details={"x": 2**70}),
    ],
)
def test_an_alert_that_no_letter_can_hold_is_refused(bad):
    with pytest.raises(BadInput, match=r"^alert"):
        packed(bad)


def test_the_longest_path_can_be_told():
    path = "$'" + "\\xff" * 4096 + "'"
    (payload,) = packed(alert(f"new path {path}", details={"path": path}))
    assert len(payload) <= MAX_LETTER_BYTES


@pytest.mark.parametrize(("agent", "module"), [(WEB.id, "audit"), (Identity(bytes(32)).id, "fswatch")])
def test_a_letter_on_anothers_subject_is_not_taken(agent, module):
    (payload,) = packed(alert())
    with pytest.raises(BadFrame):
        unpack_alerts(payload, agent=agent, module=module)


def test_only_the_agents_own_key_and_kind_count():
    (payload,) = packed(alert())
    body, mallory = payload[64:], Identity.generate()
    for forged in (
        mallory.frame(ALERTS, body),
        WEB.frame(FACTS, body),
        payload[:64] + body.replace(b"changed", b"kept   "),
        mallory.frame(ALERTS, body.replace(WEB.id.encode(), mallory.id.encode())),
    ):
        with pytest.raises(BadFrame):
            unpack_alerts(forged, agent=WEB.id, module="fswatch")


@pytest.mark.parametrize(
    "change",
    [
        {"alerts": []},
        {"alerts": [{"severity": "worse", "alert": "x", "time_s": 1}]},
        {"alerts": [{"severity": "low", "alert": "x", "time_s": -1}]},
        {"alerts": [{"severity": "low", "alert": "x", "time_s": 1, "more": 1}]},
        {"more": 1},
    ],
)
def test_a_signed_letter_of_another_shape_is_not_taken(change):
    (payload,) = packed(alert())
    frame = WEB.frame(ALERTS, orjson.dumps({**orjson.loads(payload[64:]), **change}))
    with pytest.raises(BadInput, match=r"^alerts: "):
        unpack_alerts(frame, agent=WEB.id, module="fswatch")


@given(st.binary(max_size=500))
def test_any_bytes_are_a_letter_or_a_clear_error(data):
    for payload in (data, WEB.frame(ALERTS, data)):
        with pytest.raises((BadInput, Refused)):
            unpack_alerts(payload, agent=WEB.id, module="fswatch")


def test_the_same_payload_has_the_same_id_and_no_other():
    (one,), (two,) = packed(alert("1")), packed(alert("2"))
    assert letter_id(one) == letter_id(bytes(one)) != letter_id(two)
    assert len(letter_id(one)) == 12


def test_the_size_of_an_alert_is_what_it_takes_in_a_letter():
    sizes = [len(payload) for payload in (*packed(alert("1")), *packed(alert("1"), alert("22")))]
    assert sizes[1] - sizes[0] == alert_bytes(alert("22")) + 1
