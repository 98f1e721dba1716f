"""Stage 7, on record: how an action stood when somebody counted, for everybody who looks later.

    {"type": "tally", "id": "<the action's>", "digest": "…", "by": "<fingerprint>", "final": true, "states": {"found": 2}, …}

It travels in the envelope that all kinds share, signed where the console could sign without asking anybody. An unsigned one
is worth what the broker's permission to publish it is worth, and is shown as unsigned.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
import orjson

from investigator.errors import BadInput
from investigator.protocol.action import check_year, is_action_id
from investigator.protocol.kinds import TALLY, read_signed
from investigator.protocol.result import State

MAX_TALLY_BYTES: Final = 8 * 1024
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**40)]


class TallyRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one console counted of one action."""

    type: Literal["tally"] = "tally"
    id: str
    """The action's."""
    digest: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}\\Z")]
    """The action's."""
    by: Annotated[str, msgspec.Meta(pattern="^([0-9A-F]{40})?\\Z")] = ""
    """The fingerprint of whoever counted, as they say; only a signature proves it."""
    asked: Annotated[datetime, msgspec.Meta(tz=True)]
    counted: Annotated[datetime, msgspec.Meta(tz=True)]
    """Both by the console's clock."""
    targeted: _Count
    states: dict[State, _Count]
    """Agents per state, without the zeros."""
    working: _Count = 0
    """Agents that had no state yet."""
    dropped: _Count = 0
    """Answers that did not verify."""
    final: bool
    """Whether every targeted agent had ended, or the action's time was over."""
    through: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    """The last sequence of the results' stream that is counted in."""

    def encode(self) -> bytes:
        """The bytes to sign."""
        return orjson.dumps(msgspec.to_builtins(self, builtin_types=(datetime,)), option=orjson.OPT_UTC_Z)


def parse_tally(text: bytes) -> TallyRecord:
    """Read signed bytes as a tally, strictly.

    Raises:
        BadInput: what and where, in one line.
    """
    tally = read_signed(text, TallyRecord, kind=TALLY, max_bytes=MAX_TALLY_BYTES)
    if not is_action_id(tally.id):
        raise BadInput("tally: id: not 32 hexadecimal digits")
    for key, moment in (("asked", tally.asked), ("counted", tally.counted)):
        check_year(moment, what=f"tally: {key}")
    return tally
