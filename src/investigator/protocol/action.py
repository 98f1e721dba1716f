"""Stage 1: an action, in MIG's JSON names. Its exact bytes are what is signed; they are read strictly."""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal

import msgspec
import orjson

from investigator.errors import BadInput
from investigator.protocol.codec import strict_loads
from investigator.protocol.kinds import ACTION, read_signed
from investigator.protocol.sealing import can_seal_to

MAX_ACTION_BYTES: Final = 768 * 1024
MAX_NAME_CHARACTERS: Final = 2048
MAX_TARGET_CHARACTERS: Final = 2048
MAX_MODULE_CHARACTERS: Final = 100
MAX_OPERATIONS: Final = 1000
MAX_LIFE: Final = timedelta(days=30)
"""How long the stream keeps an action; a longer one is refused at the console and by agents alike."""
DEFAULT_LIFE_S: Final = 300.0
"""How long an action is valid where nobody says; MIG's."""
MAX_OPENED_PARAMETER_BYTES: Final = 64 << 20
_ID = re.compile(r"[0-9a-f]{32}")
_YEARS = range(1970, 9999)
"""In these, no zone moves a time out of what Python's clock and calendar can tell."""


class AskedLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the investigator lets an operation use on each host; where a host's own limit is lower, that one holds.

    The least of each is what a worker needs to say that it met the limit.
    """

    cpu_percent: Annotated[int, msgspec.Meta(ge=1, le=100_000)] | None = None
    """Of one processor."""
    memory_bytes: Annotated[int, msgspec.Meta(ge=64 << 20, le=1 << 50)] | None = None
    wall_clock_s: Annotated[float, msgspec.Meta(ge=0.001, le=30 * 86_400)] | None = None
    output_bytes: Annotated[int, msgspec.Meta(ge=1 << 10, le=1 << 50)] | None = None
    open_files: Annotated[int, msgspec.Meta(ge=16, le=1 << 30)] | None = None


class Operation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One module and what it is asked."""

    module: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_MODULE_CHARACTERS)]
    parameters: Any = {}
    is_compressed: bool = False
    """MIG's: `parameters` is then a text, base64(gzip(JSON)); opened only after the gate has admitted the action."""
    limits: AskedLimits | None = None
    """Ours; MIG's actions have none."""

    def opened(self) -> Any:
        """The parameters as JSON.

        Raises:
            BadInput: compressed ones that are not what they claim, or more than 64 MiB.
        """
        if not self.is_compressed:
            return self.parameters
        try:
            packed = base64.b64decode(self.parameters, validate=True)
            inflater = zlib.decompressobj(wbits=31)
            text = inflater.decompress(packed, MAX_OPENED_PARAMETER_BYTES)
        except (TypeError, ValueError, binascii.Error, zlib.error) as error:
            raise BadInput(f"operation {self.module}: compressed parameters do not open: {error}") from None
        if inflater.unconsumed_tail:
            raise BadInput(f"operation {self.module}: parameters inflate to over {MAX_OPENED_PARAMETER_BYTES:,} bytes")
        if not inflater.eof:
            raise BadInput(f"operation {self.module}: compressed parameters are cut short")
        if inflater.unused_data:
            raise BadInput(f"operation {self.module}: something follows the compressed parameters")
        return strict_loads(text, what=f"operation {self.module}", max_bytes=MAX_OPENED_PARAMETER_BYTES)


def compressed(operation: Operation) -> Operation:
    """The same operation with its parameters as MIG compresses them."""
    if operation.is_compressed:
        return operation
    deflater = zlib.compressobj(9, wbits=31)
    packed = deflater.compress(orjson.dumps(operation.parameters)) + deflater.flush()
    text = base64.b64encode(packed).decode()
    return msgspec.structs.replace(operation, parameters=text, is_compressed=True)


class Action(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What investigators ask: a target, a window, operations. See docs/protocol.md for each key."""

    type: Literal["action"] = "action"
    id: str
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME_CHARACTERS)]
    target: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TARGET_CHARACTERS)]
    condition: list[Any]
    validfrom: Annotated[datetime, msgspec.Meta(tz=True)]
    expireafter: Annotated[datetime, msgspec.Meta(tz=True)]
    operations: Annotated[tuple[Operation, ...], msgspec.Meta(min_length=1, max_length=MAX_OPERATIONS)]
    description: dict[str, Any] | None = None
    threat: dict[str, Any] | None = None
    syntaxversion: Literal[2] = 2
    sealto: str | None = None
    """Base64 of the X25519 public key that results are sealed to, or None: results travel readable."""

    def encode(self) -> bytes:
        """The bytes to sign. Whoever receives them reads these very bytes; nothing is serialised again."""
        document = msgspec.to_builtins(self, builtin_types=(datetime,))
        return orjson.dumps(document, option=orjson.OPT_UTC_Z)


def is_action_id(text: str) -> bool:
    """Whether it has the shape of an action's id: 32 lower-case hexadecimal digits."""
    return _ID.fullmatch(text) is not None


def parse_action(text: bytes) -> Action:
    """Read signed bytes: exact keys, no duplicates, no unknown key, only what makes sense.

    Raises:
        BadInput: what and where, in one line.
    """
    action = read_signed(text, Action, kind=ACTION, max_bytes=MAX_ACTION_BYTES)
    check_action(action)
    return action


def check_action(action: Action) -> None:
    """The rules that a shape alone does not hold.

    Raises:
        BadInput: the first that is broken.
    """
    if not is_action_id(action.id):
        raise BadInput("action: id: not 32 hexadecimal digits")
    for key, moment in (("validfrom", action.validfrom), ("expireafter", action.expireafter)):
        check_year(moment, what=f"action: {key}")
    if action.expireafter <= action.validfrom:
        raise BadInput("action: expireafter: not later than validfrom")
    if action.expireafter - action.validfrom > MAX_LIFE:
        raise BadInput(f"action: expireafter: more than {MAX_LIFE.days} days after validfrom")
    if action.sealto is not None and not can_seal_to(sealing_key(action.sealto)):
        raise BadInput("action: sealto: a point of low order, which no key pair has")


def check_year(moment: datetime, *, what: str) -> None:
    """Refuse times that cannot be told in every zone.

    Raises:
        BadInput: `what`, and the year.
    """
    if moment.year not in _YEARS:
        raise BadInput(f"{what}: the year {moment.year}; {_YEARS[0]} to {_YEARS[-1]} are taken")


def sealing_key(text: str) -> bytes:
    """The 32 bytes of a `sealto`.

    Raises:
        BadInput: it is no base64 of 32 bytes.
    """
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise BadInput("action: sealto: not the base64 of a 32-byte X25519 public key")
    return key


def utc(seconds: float) -> datetime:
    """Seconds since 1970 as an aware time."""
    return datetime.fromtimestamp(seconds, UTC)


def utc_text(moment: datetime) -> str:
    """A time as people are told it, to the second: 2026-11-24T03:00:00Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
