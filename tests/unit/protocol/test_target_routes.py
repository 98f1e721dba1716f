"""Routes: as narrow as can be, and never past an agent for which the condition is true."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.console.condition import compile_target
from investigator.protocol.subjects import agent_routes
from investigator.protocol.target import NoVerdict, judge, parse_condition, routes

NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)
TEXTS = ("a", "b", "linux", "")


def conditions() -> st.SearchStrategy[Any]:
    fact = st.sampled_from(
        [
            ["column", "os"],
            ["column", "id"],
            ["column", "name"],
            ["->>", ["column", "environment"], ["text", "os"]],
            ["->>", ["column", "environment"], ["text", "a"]],
            ["->>", ["column", "tags"], ["text", "a"]],
            ["#>>", ["column", "tags"], ["b"]],
            ["#>>", ["column", "tags"], ["a", "b"]],
            ["null", "text"],
        ]
    )
    text = st.sampled_from([["null", "text"], *(["text", word] for word in TEXTS)])
    value = fact | text
    leaf = st.one_of(
        st.tuples(st.sampled_from(["=", "<>", "<", "is distinct"]), value, value).map(list),
        st.lists(value, min_size=2, max_size=6).map(lambda items: ["in", *items]),
        st.sampled_from([["bool", True], ["bool", False], ["null", "bool"]]),
    )
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.lists(inner, min_size=2, max_size=3).map(lambda parts: ["and", *parts]),
            st.lists(inner, min_size=2, max_size=3).map(lambda parts: ["or", *parts]),
            st.tuples(st.sampled_from(["not", "is null", "is true", "is false"]), inner).map(list),
        ),
        max_leaves=8,
    )


@given(
    conditions(),
    st.sampled_from(TEXTS),
    st.sampled_from(TEXTS),
    st.dictionaries(st.sampled_from("ab"), st.sampled_from(TEXTS)),
)
def test_no_agent_that_matches_is_out_of_reach(tree: Any, agent: str, system: str, tags: dict[str, str]) -> None:
    row = {"id": agent, "os": system, "environment": {"os": system}, "tags": tags}
    condition = parse_condition(tree)
    try:
        matches = judge(condition, row, NOW) is True
    except NoVerdict:  # an agent that cannot tell must be able to say so
        matches = False
    if matches:
        assert set(routes(condition)) & set(agent_routes(agent, system, tags))


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("all", [("all",)]),
        ("os='linux'", [("os", "linux")]),
        ("'linux' = os", [("os", "linux")]),
        ("os='linux' AND name LIKE '%db%'", [("os", "linux")]),
        ("environment->>'os' IN ('linux','darwin')", [("os", "darwin"), ("os", "linux")]),
        ("environment#>>'{os}' = 'linux'", [("os", "linux")]),
        ("os='linux' OR environment->>'os'='darwin'", [("os", "darwin"), ("os", "linux")]),
        ("os='linux' OR name='x'", [("all",)]),
        ("tags->>'operator'='IT'", [("tag", "operator", "IT")]),
        ("tags->>'operator'='IT' AND os='linux'", [("tag", "operator", "IT")]),
        ("os='linux' AND id IN ('a','b')", [("agent", "a"), ("agent", "b")]),
        ("(os='linux') IS TRUE", [("os", "linux")]),
        ("NOT os='linux'", [("all",)]),
        ("os IS NULL", [("all",)]),
        ("lower(os)='linux'", [("all",)]),
        ("os LIKE 'linux'", [("all",)]),
        ("os = NULL", []),
        ("false", []),
        ("false OR os='linux'", [("os", "linux")]),
        ("os IN ('linux', NULL)", [("os", "linux")]),
        ("os IN ('linux', arch)", [("all",)]),
        ("id IN (" + ",".join(f"'{n}'" for n in range(17)) + ")", [("all",)]),
        ("id IN (" + ",".join(f"'{n}'" for n in range(17)) + ") AND os='linux'", [("os", "linux")]),
    ],
)
def test_a_target_goes_to_the_narrowest_subjects_that_cover_it(target: str, expected: list[tuple[str, ...]]) -> None:
    assert list(routes(compile_target(target)[1])) == expected
