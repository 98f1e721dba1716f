"""The keyring as a table."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson

from investigator.console.own_keys import OwnKey, own_keys
from investigator.console.rules import Rules, load_rules
from investigator.console.table import aligned
from investigator.pgp import Listed

_HEADS: Final = (("FINGERPRINT", 40), ("NAME", 40), ("KEY", 12), ("EXPIRES", 12), ("WEIGHT", 32), ("OWN", 12))


def write_keys(home: Path, *, as_json: bool) -> None:
    """Print the certificates that count here, and what is wrong with files that do not."""
    rules, now = load_rules(home), int(time.time())
    own = {one.fingerprint: one for one in own_keys(home)}
    listed = rules.keyring.certificates(now)
    rows = [_row(one, rules, own.pop(one.fingerprint, None), now) for one in listed]
    if as_json:
        print(orjson.dumps(rows, option=orjson.OPT_UTC_Z).decode())
        return
    print("\n".join(aligned([_cells(row) for row in rows], _HEADS)))
    for one in own.values():
        print(f"own key {one.fingerprint} ({one.where}) is not in the keyring: its signatures do not count here")
    for name, reason in rules.keyring.refused:
        print(f"refused {name}: {reason}")


def _row(one: Listed, rules: Rules, own: OwnKey | None, now: int) -> dict[str, Any]:
    weights = {
        entry: person.weight
        for entry, people in rules.acl.entries.items()
        for person in people.investigators.values()
        if person.fingerprint.upper() == one.fingerprint
    }
    standing = "good"
    if one.revoked:
        standing = "revoked"
    elif one.expires is not None and one.expires <= now:
        standing = "expired"
    elif not one.signing_keys:
        standing = "cannot sign"
    return {
        "fingerprint": one.fingerprint,
        "names": one.user_ids,
        "key": one.kind,
        "created": datetime.fromtimestamp(one.created, UTC),
        "expires": None if one.expires is None else datetime.fromtimestamp(one.expires, UTC),
        "state": standing,
        "reason": one.revoked,
        "file": one.name,
        "weights": weights,
        "own": None if own is None else {"where": own.where, "signs": own.signs},
    }


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    expires = "never" if row["expires"] is None else row["expires"].strftime("%Y-%m-%d")
    weights = ", ".join(f"{entry} {weight}" for entry, weight in row["weights"].items()) or "none"
    own = "" if row["own"] is None else "signs" if row["own"]["signs"] else "secret here"
    names = ", ".join(row["names"])
    return row["fingerprint"], names, row["key"], expires if row["state"] == "good" else row["state"], weights, own
