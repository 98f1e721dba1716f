"""NATS's JSON Web Tokens, version 2: claims about a key, signed by another key ("ed25519-nkey").

A token is `base64url(header).base64url(claims).base64url(signature)` without padding; the signature is Ed25519 over what
stands before its dot. Who may sign what is not decided here: an operator signs accounts, an account (or a scoped
signing key of it) signs users, and a nats-server checks the chain (github.com/nats-io/jwt, claims and their names).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Annotated, Any, Final

import msgspec
import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from investigator.broker import nkeys
from investigator.errors import BadInput, Refused
from investigator.protocol.codec import convert, strict_loads

MAX_JWT_BYTES: Final = 4 << 20
"""An account's grows by some 70 bytes with each key that it has revoked."""
MAX_NAME_CHARACTERS: Final = 256
_HEADER: Final = {"typ": "JWT", "alg": "ed25519-nkey"}
_VERSION: Final = 2


class BadToken(Refused):
    """A token that is none, or that its alleged issuer did not sign."""

    code = "bad-token"


Time = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What a token says; `nats` is checked no further than its type and version."""

    jti: str = ""
    iat: Time
    """When it was made, in seconds since 1970."""
    iss: str
    """The public nkey that signed it."""
    name: str = ""
    sub: str
    """The public nkey that it is about."""
    exp: Time = 0
    """When it ends, in seconds since 1970; 0: never."""
    nats: dict[str, Any]


def encode(seed: str, *, subject: str, name: str, nats: dict[str, Any], now_s: int, expires_s: int = 0) -> str:
    """A token about the key `subject`, signed by the key of `seed`.

    Args:
        seed: the issuer's.
        subject: the public nkey that it is about.
        name: in a user's token, what `{{name()}}` in its scope stands for.
        nats: the claims of its kind, with their `type`; the version is added.
        now_s: when it is made, in seconds since 1970.
        expires_s: when it ends; 0: never.

    Raises:
        ValueError: `seed` is none.
    """
    kind, private = nkeys.decode_seed(seed)
    claims = {
        "iat": now_s,
        "iss": nkeys.encode_public(kind, private.public_key().public_bytes_raw()),
        "name": name,
        "sub": subject,
        **({"exp": expires_s} if expires_s else {}),
        "nats": {**nats, "version": _VERSION},
    }
    digest = hashlib.sha256(orjson.dumps(claims)).digest()
    text = orjson.dumps({"jti": base64.b32encode(digest).decode().rstrip("="), **claims})
    signed = f"{_encode(orjson.dumps(_HEADER))}.{_encode(text)}"
    return f"{signed}.{_encode(private.sign(signed.encode()))}"


def decode(token: str) -> Claims:
    """The claims of a token whose signature its issuer made; that the issuer is anybody to us is not checked.

    Raises:
        BadToken: it is no such token; one line that does not repeat it.
    """
    parts = token.split(".")
    if len(token) > MAX_JWT_BYTES or len(parts) != 3:
        raise BadToken("not a NATS token")
    try:
        header, text, signature = map(_decode, parts)
        if strict_loads(header, what="header", max_bytes=1024) != _HEADER:
            raise BadToken("a token of another kind than NATS's")
        claims = convert(strict_loads(text, what="claims", max_bytes=MAX_JWT_BYTES), Claims, what="claims")
        _, key = nkeys.decode_public(claims.iss)
        Ed25519PublicKey.from_public_bytes(key).verify(signature, f"{parts[0]}.{parts[1]}".encode())
    except (ValueError, InvalidSignature):
        raise BadToken("a token that its issuer did not sign") from None
    except BadInput as error:
        raise BadToken(f"token: {error}") from None
    if claims.nats.get("version") != _VERSION or len(claims.name) > MAX_NAME_CHARACTERS:
        raise BadToken("a token of another version than NATS's 2, or with too long a name")
    return claims


def verify(token: str, *, issuer: str, kind: str) -> Claims:
    """The claims of a token of this kind ("operator", "account", "user") that this issuer signed.

    Raises:
        BadToken: it is none.
    """
    claims = decode(token)
    if claims.iss != issuer:
        raise BadToken(f"a token by {claims.iss[:60]} instead of {issuer}")
    if claims.nats.get("type") != kind:
        raise BadToken(f"a token about another thing than a NATS {kind}")
    return claims


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decode(text: str) -> bytes:
    """Raises `ValueError` for anything but the one text of these bytes."""
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, UnicodeError):
        raise ValueError("not base 64") from None
    if _encode(raw) != text:
        raise ValueError("not base 64")
    return raw
