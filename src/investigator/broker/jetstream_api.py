"""Questions to the API of streams (nats-server's `$JS.API.STREAM.…`), and what it answers that it would not do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
import orjson

from investigator.broker.problems import JetStreamError
from investigator.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from investigator.broker.connection import Broker

NO_SUCH_STREAM: Final = 10059
_GONE: Final = frozenset((10037, 10043, 10057))
"""No message found; deleted by somebody else meanwhile."""


class ApiError(msgspec.Struct):
    """As nats-server calls it."""

    description: str = ""
    err_code: int = 0


class ApiAnswer(msgspec.Struct):
    """What all answers have in common; each question adds what it wants to know."""

    error: ApiError | None = None


class _Purged(ApiAnswer):
    purged: int = 0


_Answer = TypeVar("_Answer", bound=ApiAnswer)


async def ask_stream(
    broker: Broker,
    verb: str,
    stream: str,
    question: Mapping[str, Any] | None,
    kind: type[_Answer],
    *,
    timeout_s: float = 10.0,
) -> _Answer:
    """Ask about a stream, or to change it: `INFO`, `CREATE`, `PURGE`, `MSG.DELETE` ….

    Raises:
        JetStreamError: the server will not.
        NotPermittedError: this user may not ask that.
        BrokerError: there is no answer.
    """
    raw = await broker.request(
        f"$JS.API.STREAM.{verb}.{stream}", orjson.dumps(question) if question else b"", timeout_s=timeout_s
    )
    return read_answer(raw, stream, kind)


def read_answer(raw: bytes, stream: str, kind: type[_Answer]) -> _Answer:
    """What the server says of a stream.

    Raises:
        JetStreamError: that it will not.
        BrokerError: nothing that makes sense.
    """
    try:
        answer = msgspec.convert(orjson.loads(raw), kind)
    except ValueError as error:
        raise BrokerError(f"stream {stream}: the broker's answer: {error}") from None
    if answer.error is not None:
        raise JetStreamError(f"stream {stream}: {answer.error.description}", answer.error.err_code)
    return answer


async def delete_message(broker: Broker, stream: str, sequence: int) -> None:
    """Take a message out of a stream; that somebody else did so meanwhile is as good.

    Raises:
        BrokerError: it is still there; NotPermittedError, if this user may not.
    """
    try:
        await ask_stream(broker, "MSG.DELETE", stream, {"seq": sequence, "no_erase": True}, ApiAnswer)
    except JetStreamError as error:
        if error.number not in _GONE:
            raise


async def purge(
    broker: Broker, stream: str, subject: str, *, before: int | None = None, timeout_s: float = 10.0
) -> int:
    """Take out all messages of a subject, or those whose sequence is less than `before`; how many there were.

    Raises:
        BrokerError: the server will not, or does not answer.
    """
    question: dict[str, Any] = {"filter": subject}
    if before is not None:
        question["seq"] = before
    return (await ask_stream(broker, "PURGE", stream, question, _Purged, timeout_s=timeout_s)).purged
