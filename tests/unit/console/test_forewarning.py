"""What the asker hears before an action goes out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from investigator.console.forewarning import forewarnings
from investigator.console.inventory import Host
from investigator.protocol.action import parse_action
from investigator.protocol.facts import Facts
from signed import written

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def host(name: str, environment: Any) -> Host:
    return Host(Facts(key="", row={"id": name, "name": name, "environment": environment}, heartbeat_s=60), NOW)


def asking(*modules: str) -> Any:
    return parse_action(written(operations=[{"module": module, "parameters": {}} for module in modules]))


FIT = host("web-1", {"modules": ["file", "memory"], "unavailable": {}})
UNFIT = host("web-2", {"modules": ["file"], "unavailable": {"memory": "module memory needs root to look"}})
OLD = host("web-3", {"modules": ["file"]})
PRIVATE = host("db-1", {"modules": ["file", "memory"], "extraprivacymode": True})


def test_nothing_is_said_where_all_can() -> None:
    assert forewarnings([FIT], asking("file", "memory")) == []
    assert forewarnings([], asking("memory")) == []


def test_how_many_cannot_and_the_reason_of_one() -> None:
    assert forewarnings([FIT, UNFIT], asking("memory", "memory", "file")) == [
        "1 of 2 targeted agents says that it cannot run memory, such as web-2: module memory needs root to look"
    ]
    assert forewarnings([OLD, UNFIT], asking("memory")) == [
        "2 of 2 targeted agents say that they cannot run memory, such as web-3: it has no module of that name"
    ]


def test_extra_privacy_mode_is_said_once() -> None:
    assert forewarnings([PRIVATE], asking("file", "memory")) == [
        "1 of 1 targeted agent is in extra privacy mode: names and errors come back masked"
    ]


@pytest.mark.parametrize(
    "environment", [None, 7, [], {"unavailable": 3, "modules": "file"}, {"extraprivacymode": "yes"}]
)
def test_facts_may_say_anything(environment: Any) -> None:
    assert forewarnings([host("x", environment)], asking("memory")) == []
