"""What was found of accounts: elements, statistics, printed lines, and the same for extra privacy mode."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final

from investigator.modules.durations import NS_PER_S, duration_text, utc_text
from investigator.modules.file.opening import on_one_line, path_text
from investigator.modules.findings import Findings
from investigator.modules.interface import MASK
from investigator.modules.notes import note_lines
from investigator.protocol.result import Result

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from investigator.modules.interface import Context
    from investigator.modules.notes import Notes
    from investigator.modules.user.accounts import Group
    from investigator.modules.user.host import Host, Person, SudoRule

_ROOM_BYTES: Final = 256 << 10
_LISTS: Final = ("accounts", "groups", "sudoers")


class Report:
    """Collects while accounts are judged; `result` is what comes of it."""

    def __init__(self, notes: Notes, context: Context, *, limit: int, began_ns: int) -> None:
        """`limit` is of accounts, 0 for none; `began_ns` is on `time.monotonic_ns()`'s scale."""
        self._notes = notes
        self._context = context
        self._limit = limit
        self._hits = 0
        self._lists: dict[str, list[dict[str, Any]]] = {name: [] for name in _LISTS}
        self._began_ns = began_ns

    def account(self, person: Person) -> None:
        """One that matches."""
        self._hits += 1
        if self._limit and self._hits > self._limit:
            return
        account, login = person.account, person.login
        self._lists["accounts"].append(
            {
                "name": path_text(account.name),
                "uid": account.uid,
                "gid": account.gid,
                "groups": [path_text(group) for group in account.groups],
                "comment": path_text(account.comment),
                "home": path_text(account.home),
                "shell": path_text(account.shell),
                "password": account.password,
                "lastlogin": login
                and {
                    "time": utc_text(login.time_s * NS_PER_S),
                    "line": path_text(login.line),
                    "host": path_text(login.host),
                    "source": login.source,
                },
                "sudo": [_text(rule.shown) for rule in person.rules],
            },
        )

    def group(self, group: Group) -> None:
        """One that matches, with the members of its line."""
        members = [path_text(member) for member in group.members]
        self._lists["groups"].append({"name": path_text(group.name), "gid": group.gid, "members": members})

    def sudo_rule(self, rule: SudoRule) -> None:
        """One that matches."""
        where = {"file": _text(rule.rule.file), "line": rule.rule.line}
        self._lists["sudoers"].append({"who": _text(rule.who), "rule": _text(rule.shown), **where})

    def result(self, host: Host) -> Result:
        """Accounts in the order of their uid, groups of their gid, rules as sudo reads them."""
        if self._limit and self._hits > self._limit:
            self._notes.note(f"{self._hits} accounts match, of which {self._limit} are returned (-matchlimit)")
        self._lists["accounts"].sort(key=lambda one: (one["uid"], one["name"]))
        self._lists["groups"].sort(key=lambda one: (one["gid"], one["name"]))
        findings = Findings(self._context, room_bytes=_ROOM_BYTES)
        slots = [(findings.slot(name), found) for name, found in self._lists.items()]
        cut = sum(not findings.add(slot, one) for slot, found in slots for one in found)
        if cut:
            self._notes.note(f"{cut} more findings than a result can hold; they are counted, not returned")
        statistics = {
            "accounts": len(host.people),
            "groups": len(host.groups),
            "sudorules": len(host.rules),
            "loginsources": host.login_sources,
            "totalhits": self._hits,
            "exectime": duration_text(time.monotonic_ns() - self._began_ns),
        }
        return Result(
            foundanything=bool(self._hits) or any(self._lists.values()),
            success=True,
            elements=findings.rest(empty=[]),
            statistics=statistics,
            errors=self._notes.texts(),
        )


def _text(text: str) -> str:
    """What was decoded from sudoers, as JSON can have it."""
    return path_text(os.fsencode(text))


def result_lines(result: Mapping[str, Any], *, everything: bool) -> Iterator[str]:
    """Positive findings and warnings; with `everything` also errors and statistics."""
    elements = result.get("elements") or {}
    for one in elements.get("accounts") or ():
        yield _account_line(one)
    for one in elements.get("groups") or ():
        yield f"group name={one['name']} gid={one['gid']} members={','.join(one['members'])}"
    for one in elements.get("sudoers") or ():
        yield f'sudoers who={one["who"]} rule="{one["rule"]}" in {on_one_line(one["file"])} line {one["line"]}'
    yield from note_lines(result, everything=everything)
    statistics = result.get("statistics")
    if everything and statistics:
        yield (
            f"Statistics: {statistics['accounts']} accounts, {statistics['groups']} groups, "
            f"{statistics['sudorules']} sudo rules, {statistics['totalhits']} matched, ran in {statistics['exectime']}."
        )


def _account_line(one: Mapping[str, Any]) -> str:
    login = one["lastlogin"]
    last = "never"
    if login:
        origin = f" from {login['host']}" if login["host"] else ""
        last = f'"{login["time"]}{origin}{" on " + login["line"] if login["line"] else ""}"'
    sudo = f'"{"; ".join(one["sudo"])}"' if one["sudo"] else "no"
    return (
        f"account name={one['name']} uid={one['uid']} gid={one['gid']} groups={','.join(one['groups'])} "
        f"home={on_one_line(one['home'])} shell={on_one_line(one['shell'])} password={one['password']} "
        f"lastlogin={last} sudo={sudo}"
    )


def masked(result: Mapping[str, Any]) -> dict[str, Any]:
    """Without whatever names a person, group, file, peer or command; numbers, states and times stay."""
    elements, errors = result.get("elements"), result.get("errors")
    shown = elements and {
        "accounts": [_masked_account(one) for one in elements.get("accounts") or ()],
        "groups": [
            {**one, "name": MASK, "members": _all_masked(one["members"])} for one in elements.get("groups") or ()
        ],
        "sudoers": [{**one, "who": MASK, "rule": MASK, "file": MASK} for one in elements.get("sudoers") or ()],
    }
    return {**result, "elements": shown, "errors": errors and [MASK for _ in errors]}


def _masked_account(one: Mapping[str, Any]) -> dict[str, Any]:
    login = one["lastlogin"]
    return {
        **one,
        "name": MASK,
        "groups": _all_masked(one["groups"]),
        "comment": one["comment"] and MASK,
        "home": one["home"] and MASK,
        "shell": one["shell"] and MASK,
        "lastlogin": login and {**login, "line": login["line"] and MASK, "host": login["host"] and MASK},
        "sudo": _all_masked(one["sudo"]),
    }


def _all_masked(texts: Sequence[str]) -> list[str]:
    return [MASK for _ in texts]
