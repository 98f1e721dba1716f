"""What earlier investigations found is read for targets that ask for it, and for no others."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from investigator.console.condition import compile_target
from investigator.console.fleet import earlier_outcomes

FOUND = (
    "id IN (SELECT agentid FROM commands, json_array_elements(results) AS r "
    "WHERE actionid = 12345 AND r#>>'{foundanything}' = 'true')"
)
OUTCOMES = {("12345", "x", "found")}


class Store:
    async def who_came_to(self) -> set[tuple[str, str, str]]:
        return OUTCOMES


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("os='linux'", set()),
        ("all", set()),
        (FOUND, OUTCOMES),
        (f"os='linux' OR NOT ({FOUND})", OUTCOMES),
    ],
)
def test_it_is_read_where_the_target_asks_for_it(target: str, expected: set[Any]) -> None:
    condition = compile_target(target)[1]
    assert asyncio.run(earlier_outcomes(cast(Any, Store()), condition)) == expected


def test_without_a_target_nothing_is_read() -> None:
    assert asyncio.run(earlier_outcomes(cast(Any, Store()), None)) == set()
