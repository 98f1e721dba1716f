"""Subjects only route, but nobody's tag or id may add a level or a wildcard to one."""

import re

from hypothesis import given
from hypothesis import strategies as st

from investigator.protocol import subjects
from investigator.protocol.subjects import action_subject, agent_routes, route_subject, subscription, token

ANY = st.text(st.characters())
SHORT = st.text(max_size=16) | st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True) | st.text("_b32aeiou", max_size=12)


@given(ANY)
def test_any_text_is_one_plain_token_of_bounded_length(text: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,133}", token(text))


def test_a_text_of_any_length_is_cut_to_a_token() -> None:
    assert len(token("é" * 100_000)) == len(token("x" * 100_000)) == 133


@given(SHORT, SHORT)
def test_two_short_texts_never_share_a_token(one: str, other: str) -> None:
    assert (token(one) == token(other)) == (one == other)


@given(SHORT)
def test_no_text_takes_the_token_of_an_encoded_one(text: str) -> None:
    assert (
        token(token(text)) == token(text) if not token(text).startswith("_b32_") else token(token(text)) != token(text)
    )


def test_what_is_plain_stays_readable_and_the_rest_is_encoded() -> None:
    assert token("web-1_X") == "web-1_X"
    for text in ("", ".", "*", ">", "a.b", "a b", "a\n", "é", "x" * 65, "_b32_x", "\ud800"):
        assert token(text).startswith("_b32_")


@given(ANY, ANY, ANY, ANY)
def test_whatever_an_agent_is_called_its_subjects_have_their_levels_and_no_wildcard(
    agent: str, os: str, key: str, value: str
) -> None:
    for route in agent_routes(agent, os, {key: value}):
        subject = action_subject(route, "0" * 32)
        assert re.fullmatch(r"mig\.action\.(all|os\.[^.*> ]+|tag\.[^.*> ]+\.[^.*> ]+|agent\.[^.*> ]+)\.0{32}", subject)
        assert subscription(route) == subject.removesuffix("0" * 32) + "*"
        assert subject.startswith(route_subject(route) + ".")
    for subject in (
        subjects.result_subject(key, agent),
        subjects.facts_subject(agent),
        subjects.heartbeat_subject(agent),
        subjects.alert_subject(key, agent),
    ):
        assert re.fullmatch(r"mig\.(result\.[\w-]+|alert\.[\w-]+|facts|hb)\.[\w-]+", subject)
    assert re.fullmatch(r"mig\.result\.[\w-]+\.\*", subjects.results_of(key))


def test_every_route_to_an_agent_is_one_of_its_subscriptions() -> None:
    routes = agent_routes("id", "linux", {"operator": "IT", "a": "b"})
    assert routes == (("all",), ("os", "linux"), ("tag", "a", "b"), ("tag", "operator", "IT"), ("agent", "id"))
