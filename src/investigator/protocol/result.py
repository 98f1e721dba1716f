"""Stage 6: what a module answers, and what an agent says about a whole action."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
import orjson

from investigator.errors import BadInput
from investigator.protocol.codec import convert, strict_loads


class Result(msgspec.Struct, kw_only=True):
    """One operation's result: MIG's JSON, its five keys always present and in this order (MIG's modules contract).

    `elements` are findings (metadata, never content) in the module's own shape; `statistics` likewise, or None;
    `errors` are texts: soft ones, or with `success=False` the fatal one.
    """

    foundanything: bool = False
    success: bool = False
    elements: Any = None
    statistics: Any = None
    errors: list[str] | None = None

    @classmethod
    def failed(cls, *errors: str) -> Result:
        """The result of an operation that could not be done."""
        return cls(errors=list(errors))


State = Literal["found", "notfound", "failed", "timeout", "refused", "cancelled", "expired", "offline"]
"""What one targeted agent comes to; the last two are the console's to say, the others the agent's."""

MAX_PART_BYTES: Final = 512 * 1024
MAX_PARTS: Final = 128


class Outcome(msgspec.Struct, kw_only=True, frozen=True):
    """What an agent says about one action: one state, and a result for each operation that ran."""

    state: State
    name: str
    """The agent's name, for people; the id is in the part's head, bound to the key."""
    code: str = ""
    """Why it failed, timed out or was refused: docs/protocol.md lists the codes."""
    reason: str = ""
    results: list[Result] = []
    started_s: float = 0.0
    finished_s: float = 0.0
    """The agent's clock, seconds since 1970."""


class PartHead(msgspec.Struct, kw_only=True, frozen=True):
    """The first line of every part: what the slice after it belongs to. Signed together with the slice."""

    action: str
    digest: str
    agent: str
    key: str
    """Base64 of the agent's Ed25519 public key, which its id is derived from."""
    sealto: str | None
    part: Annotated[int, msgspec.Meta(ge=1, le=MAX_PARTS)] = 1
    parts: Annotated[int, msgspec.Meta(ge=1, le=MAX_PARTS)] = 1


def encode_parts(
    outcome: Outcome, *, action: str, digest: str, agent: str, key: bytes, sealto: str | None
) -> list[bytes]:
    """An outcome as the bodies of one or more frames: a head, a newline, a slice of the outcome's JSON.

    Raises:
        BadInput: it is larger than all parts together; the caller says so to the asker instead.
    """
    document = orjson.dumps(msgspec.to_builtins(outcome))
    slices = [document[at : at + MAX_PART_BYTES] for at in range(0, len(document), MAX_PART_BYTES)]
    if len(slices) > MAX_PARTS:
        raise BadInput(f"result of {len(document):,} bytes; {MAX_PARTS * MAX_PART_BYTES:,} at most")
    encoded_key = base64.b64encode(key).decode()
    return [
        orjson.dumps(
            msgspec.to_builtins(
                PartHead(
                    action=action,
                    digest=digest,
                    agent=agent,
                    key=encoded_key,
                    sealto=sealto,
                    part=number,
                    parts=len(slices),
                )
            )
        )
        + b"\n"
        + piece
        for number, piece in enumerate(slices, start=1)
    ]


def decode_part(body: bytes) -> tuple[PartHead, bytes]:
    """The head of a part and its slice.

    Raises:
        BadInput: it is none.
    """
    head, newline, piece = body.partition(b"\n")
    if not newline:
        raise BadInput("result: a part without a head")
    return convert(strict_loads(head, what="result", max_bytes=4096), PartHead, what="result"), piece


def decode_outcome(document: bytes) -> Outcome:
    """An outcome, from its slices put together in order.

    Raises:
        BadInput: it is none.
    """
    value = strict_loads(document, what="result", max_bytes=MAX_PARTS * MAX_PART_BYTES)
    return convert(value, Outcome, what="result")


def merged_state(results: Sequence[Result]) -> State:
    """The state of an agent that ran every operation to its end."""
    if any(not result.success for result in results):
        return "failed"
    return "found" if any(result.foundanything for result in results) else "notfound"
