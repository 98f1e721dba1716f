"""Accounts and groups as the host's files have them: passwd(5), group(5), shadow(5).

Of a password only its state is kept: the hash is looked at here and goes no further.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

State = Literal["none", "locked", "set", "unknown"]
"""Of a password."""
UNKNOWN: Final = "unknown"
MAX_ID: Final = 2**32 - 1
_ID_DIGITS: Final = 10
MAX_LINE_BYTES: Final = 1 << 20
"""Groups of directories have thousands of members."""
_SHADOWED: Final = b"x"
_NIS: Final = (b"+", b"-")


@dataclass(slots=True, kw_only=True)
class Account:
    """A line of passwd, and what other files add to it. Texts are bytes as they stand there."""

    name: bytes
    uid: int
    gid: int
    comment: bytes
    home: bytes
    shell: bytes
    password: State
    groups: list[bytes] = field(default_factory=list)
    """Names, the primary one first; the number where a group has no line."""
    gids: tuple[int, ...] = ()


@dataclass(slots=True, kw_only=True)
class Group:
    """A line of group; members are those of this line, not those whose primary group it is."""

    name: bytes
    gid: int
    members: list[bytes]


def parse_passwd(text: bytes, spoiled: Callable[[int], None]) -> list[Account]:
    """The accounts, in the file's order; `spoiled` is told the numbers of lines that are none.

    Two lines of one name, or with one uid, are two accounts: that is how a second root is hidden.
    """
    accounts = []
    for number, fields in _lines(text, 7, spoiled):
        uid, gid = _id(fields[2]), _id(fields[3])
        if not fields[0] or uid is None or gid is None:
            spoiled(number)
            continue
        accounts.append(
            Account(
                name=fields[0],
                uid=uid,
                gid=gid,
                comment=fields[4],
                home=fields[5],
                shell=fields[6] or b"/bin/sh",  # as passwd(5) has it
                password=UNKNOWN if fields[1] == _SHADOWED else password_state(fields[1]),
            )
        )
    return accounts


def parse_group(text: bytes, spoiled: Callable[[int], None]) -> list[Group]:
    """The groups, in the file's order."""
    groups = []
    for number, fields in _lines(text, 4, spoiled):
        gid = _id(fields[2])
        if not fields[0] or gid is None:
            spoiled(number)
            continue
        members = [member for member in dict.fromkeys(fields[3].split(b",")) if member]
        groups.append(Group(name=fields[0], gid=gid, members=members))
    return groups


def parse_shadow(text: bytes, spoiled: Callable[[int], None]) -> dict[bytes, State]:
    """The state of each account's password; the first line of a name counts, as for the C library."""
    states: dict[bytes, State] = {}
    for number, fields in _lines(text, 2, spoiled, more=True):
        if fields[0]:
            states.setdefault(fields[0], password_state(fields[1]))
        else:
            spoiled(number)
    return states


def password_state(hashed: bytes) -> State:
    """`none`: anybody may log in; `locked`: nobody can by password (`!`, `*` before or in place of a hash)."""
    if not hashed:
        return "none"
    return "locked" if hashed[:1] in (b"!", b"*") else "set"


def join(accounts: list[Account], groups: list[Group], states: dict[bytes, State]) -> None:
    """Put groups and the states of passwords to their accounts."""
    by_gid: dict[int, bytes] = {}
    of_member: dict[bytes, list[Group]] = {}
    for group in groups:
        by_gid.setdefault(group.gid, group.name)
        for member in group.members:
            of_member.setdefault(member, []).append(group)
    for account in accounts:
        mine = of_member.get(account.name, ())
        primary = by_gid.get(account.gid, str(account.gid).encode())
        account.groups = list(dict.fromkeys([primary, *(group.name for group in mine)]))
        account.gids = (account.gid, *(group.gid for group in mine))
        if account.password == UNKNOWN:
            account.password = states.get(account.name, UNKNOWN)


def _lines(
    text: bytes, count: int, spoiled: Callable[[int], None], *, more: bool = False
) -> Iterator[tuple[int, list[bytes]]]:
    """Numbers and fields of the lines that have so many; comments, blank lines and NIS's `+` and `-` are passed over."""
    for number, line in enumerate(text.split(b"\n"), start=1):
        if not line.strip() or line.startswith((b"#", *_NIS)):
            continue
        fields = line.split(b":")
        if len(line) > MAX_LINE_BYTES or len(fields) < count or (len(fields) > count and not more):
            spoiled(number)
            continue
        yield number, fields


def _id(text: bytes) -> int | None:
    if not text.isdigit() or len(text) > _ID_DIGITS or int(text) > MAX_ID:
        return None
    return int(text)
