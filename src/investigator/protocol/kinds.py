"""Kinds of signed thing: what somebody signed says what it is, inside the signed bytes, and passes for nothing else.

    action     1  protocol.action     asks hosts to do something
    cancel        protocol.cancel     stops an action
    tally      7  protocol.record     says how an action stood; for consoles, agents pass it over
    token, pin, unenrol   protocol.statement   says who is who

All kinds share one envelope (`protocol.envelope`) and one way of being read, which is here. A new kind is one file: a struct
with `type: Literal["<kind>"]`, a function that calls `read_signed`, and a gate of its own. A key's revocation is no kind: it is
an OpenPGP packet, which proves itself (`protocol.revocation`).
"""

from __future__ import annotations

from typing import Final, TypeVar

import orjson

from investigator.errors import BadInput
from investigator.protocol.codec import convert, strict_loads

ACTION: Final = "action"
CANCEL: Final = "cancel"
TALLY: Final = "tally"
REVOCATION: Final = "revocation"
TOKEN: Final = "token"  # noqa: S105 - a kind, no secret
PIN: Final = "pin"
UNENROL: Final = "unenrol"
MAX_PEEKED_BYTES: Final = 16 * 1024
"""Larger signed bytes can only be an action."""
_OF_OTHER_KINDS: Final = (b"cancel", b"revocation", b"\\u")
"""Without one of these JSON says neither word: its letters stand as they are, or escaped."""
T = TypeVar("T")


def read_signed(text: bytes, shape: type[T], *, kind: str, max_bytes: int) -> T:
    """Read signed bytes as this kind: exact keys in their exact case, no duplicates, no unknown key, `type` required.

    Raises:
        BadInput: what and where, in one line.
    """
    document = strict_loads(text, what=kind, max_bytes=max_bytes)
    # the shape's default must not make this kind of other signed JSON
    if not isinstance(document, dict) or "type" not in document:
        raise BadInput(f"{kind}: type: missing; it must be '{kind}'")
    if document["type"] != kind:
        raise BadInput(f"{kind}: type: {str(document['type'])[:40]!r}; it must be '{kind}'")
    return convert(document, shape, what=kind)


def claimed_kind(raw: bytes) -> str:
    """To which gate a message from the wire goes, by what it claims; that gate believes none of it.

    What cannot be read is an action's: its gate says what is wrong with it.
    """
    if not any(word in raw for word in _OF_OTHER_KINDS):
        return ACTION
    envelope = _object(raw)
    if REVOCATION in envelope:
        return REVOCATION
    text = envelope.get("action")
    if not isinstance(text, str) or len(text) > MAX_PEEKED_BYTES:
        return ACTION
    return CANCEL if _object(text).get("type") == CANCEL else ACTION


def _object(text: bytes | str) -> dict[str, object]:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
