"""Actions, envelopes and a keyring without OpenPGP, for tests of the gate and of what stands behind it.

A signature here is a text that names signer, time and the digest of what is signed: as easy to make for a test as it
would be for an attacker, so tests give the attacker only what he has: texts that exist, cut, joined, repeated, mangled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from investigator.errors import Refused
from investigator.protocol.acl import Acl, parse_acl
from investigator.protocol.admission import Host
from investigator.protocol.envelope import Envelope

NOW_S = 1_795_500_000.0
ACTION_ID = "0123456789abcdef0123456789abcdef"
OTHER_ID = "fedcba9876543210fedcba9876543210"
ROW = {"id": "a", "name": "web-1", "os": "linux", "pid": 7, "tags": {"operator": "IT"}, "status": "online"}


def fingerprint(person: str) -> str:
    """A full fingerprint for a name."""
    return hashlib.sha1(person.encode()).hexdigest().upper()


ALICE, BOB, CAROL, MALLORY = map(fingerprint, ("alice", "bob", "carol", "mallory"))


@dataclass(frozen=True)
class Good:
    certificate: str
    created: int


@dataclass
class FakeKeyring:
    """Trusts the given certificates; with the skew and the age that the real one has."""

    trusted: tuple[str, ...] = (ALICE, BOB, CAROL)
    asked: list[int] = field(default_factory=list)

    def verify(self, data: bytes, signature: bytes, now: int, *, max_age_s: int | None = None) -> Good:
        self.asked.append(now)
        word, _, rest = signature.decode().partition(" ")
        signer, _, rest = rest.partition(" ")
        created, _, digest = rest.partition(" ")
        if word != "SIGNED" or not created.isdecimal() or digest != hashlib.sha256(data).hexdigest():
            raise Refused("no signature of this")
        if signer not in self.trusted:
            raise Refused(f"key {signer[-16:]} is not trusted")
        if not now - (max_age_s or 7 * 86_400) <= int(created) <= now + 120:
            raise Refused("signature is too old, or from the future")
        return Good(signer, int(created))

    def revoked_by(self, packet: bytes) -> str:
        word, _, signer = packet.decode(errors="replace").partition(" ")
        if word != "REVOKES" or signer not in self.trusted:
            raise Refused("no key of the keyring made this revocation")
        return signer

    def with_revocations(self, packets: Mapping[str, bytes]) -> FakeKeyring:
        gone = {self.revoked_by(packet) for packet in packets.values()}
        return FakeKeyring(tuple(each for each in self.trusted if each not in gone), self.asked)


def revoking(signer: str) -> bytes:
    """The packet with which a signer gives up their key."""
    return f"REVOKES {signer}".encode()


def sign(data: bytes, signer: str = ALICE, at_s: float = NOW_S) -> str:
    return f"SIGNED {signer} {int(at_s)} {hashlib.sha256(data).hexdigest()}"


def rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def document(now_s: float = NOW_S, **changes: Any) -> dict[str, Any]:
    """An action's JSON; a change to `...` leaves the key out."""
    plain = {
        "type": "action",
        "id": ACTION_ID,
        "name": "who listens",
        "target": "all",
        "condition": ["bool", True],
        "validfrom": rfc3339(now_s - 60),
        "expireafter": rfc3339(now_s + 300),
        "operations": [{"module": "netstat", "parameters": {}}],
        "syntaxversion": 2,
        **changes,
    }
    return {key: value for key, value in plain.items() if value is not ...}


def written(now_s: float = NOW_S, **changes: Any) -> bytes:
    """An action's bytes."""
    return orjson.dumps(document(now_s, **changes))


def cancel_document(action: bytes, now_s: float = NOW_S, **changes: Any) -> dict[str, Any]:
    """A cancel's JSON, of this action; a change to `...` leaves the key out."""
    plain = {
        "type": "cancel",
        "id": orjson.loads(action)["id"],
        "digest": digest_of(action),
        "expireafter": rfc3339(now_s + 300),
        "reason": "a mistake",
        **changes,
    }
    return {key: value for key, value in plain.items() if value is not ...}


def cancelling(action: bytes, *signers: str, now_s: float = NOW_S, about: bytes | None = None, **changes: Any) -> bytes:
    """The envelope of a cancel of this action by these signers; `about` is the action's envelope beside it."""
    text = orjson.dumps(cancel_document(action, now_s, **changes))
    document = {"v": 1, "action": text.decode(), "pgpsignatures": [sign(text, each, now_s) for each in signers]}
    return orjson.dumps(document if about is None else {**document, "about": orjson.loads(about)})


def sealed_in(action: bytes, *signatures: str) -> bytes:
    """The envelope of these bytes and signatures."""
    return Envelope(action=action.decode(), pgpsignatures=signatures).encode()


def digest_of(action: bytes) -> str:
    return hashlib.sha256(action).hexdigest()


def entry(minimum: int, **people: int) -> dict[str, Any]:
    """An ACL's entry: names to weights."""
    persons = {name: {"fingerprint": fingerprint(name), "weight": weight} for name, weight in people.items()}
    return {"minimumweight": minimum, "investigators": persons}


def rules(**entries: Any) -> Acl:
    """An ACL of these entries, on a host with three modules."""
    keys = (ALICE, BOB, CAROL)
    return parse_acl(orjson.dumps(entries), modules=("agentdestroy", "file", "netstat"), keys=keys)


def weights(minimum: int = 1, **people: int) -> Acl:
    """An ACL with one entry, `default`; all together reach the minimum."""
    return rules(default=entry(minimum, **people))


def host(**changes: Any) -> Host:
    """A host that admits what Alice signs."""
    plain: dict[str, Any] = {
        "keyring": FakeKeyring(),
        "acl": weights(alice=1, bob=1, carol=0),
        "row": ROW,
        "ledger": set(),
    }
    return Host(**{**plain, **changes})
