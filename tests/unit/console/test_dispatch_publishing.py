"""An action is stored once, also by a broker that was too busy to say that it had it."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest

from investigator.broker.problems import UnansweredError
from investigator.console.dispatch import publish
from investigator.protocol.action import utc


class Busy:
    """A stream that keeps what it is given, and says so only from the second time on."""

    def __init__(self, silent: int) -> None:
        self.silent = silent
        self.ids: list[str] = []

    async def publish_acked(self, subject: str, raw: bytes, *, message_id: str, ttl_s: float) -> int:
        assert subject
        assert raw
        assert ttl_s > 0
        self.ids.append(message_id)
        if len(self.ids) <= self.silent:
            raise UnansweredError("no answer in time")
        return 1 + sorted(set(self.ids)).index(message_id)


def prepared(*subjects: str) -> Any:
    return SimpleNamespace(
        action=SimpleNamespace(id="a" * 32, expireafter=utc(time.time() + 60)),
        envelope=SimpleNamespace(digest="d" * 64, encode=lambda: b"{}"),
        subjects=list(subjects),
    )


def test_it_is_asked_again_under_the_same_id_which_stores_it_once() -> None:
    broker: Any = Busy(silent=1)
    assert asyncio.run(publish(prepared("mig.action.all.x"), broker, now_s=time.time())) == {"mig.action.all.x": 1}
    assert len(broker.ids) == 2
    assert len(set(broker.ids)) == 1


def test_a_broker_that_stays_silent_is_told() -> None:
    broker: Any = Busy(silent=9)
    with pytest.raises(UnansweredError):
        asyncio.run(publish(prepared("mig.action.all.x"), broker, now_s=time.time()))
    assert len(broker.ids) == 2


def test_each_subject_has_an_id_that_nobody_guesses() -> None:
    broker: Any = Busy(silent=0)
    asyncio.run(publish(prepared("mig.action.os.linux.x", "mig.action.os.darwin.x"), broker, now_s=time.time()))
    assert len(set(broker.ids)) == 2
    assert all(len(one) > 64 for one in broker.ids)
