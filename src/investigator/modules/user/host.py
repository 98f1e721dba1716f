"""What a host knows of its people, put together from its files: the one thing that another system would do otherwise."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from investigator.modules.file.opening import open_file, reason
from investigator.modules.user.accounts import UNKNOWN, Account, Group, join, parse_group, parse_passwd, parse_shadow
from investigator.modules.user.logins import Logins
from investigator.modules.user.sudo_files import read_sudoers
from investigator.modules.user.sudoers import Rule, Sudoers, keys_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from investigator.modules.notes import Notes
    from investigator.modules.user.utmp import Login

ACCOUNTS: Final = "/etc/passwd"
GROUPS: Final = "/etc/group"
SHADOW: Final = "/etc/shadow"
MAX_FILE_BYTES: Final = 32 << 20
MAX_RULE_BYTES: Final = 16 << 20
"""Of all rules' texts, aliases replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SudoRule:
    """One rule of sudoers in its two texts."""

    rule: Rule
    who: str
    shown: str
    searched: bytes
    """With whom it is for and arguments; never in a result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """An account with all that is known of it."""

    account: Account
    login: Login | None
    rules: list[SudoRule]

    def texts(self, kind: str) -> list[bytes]:
        """What a regular expression of this kind is for."""
        account = self.account
        match kind:
            case "name":
                return [account.name]
            case "group":
                return account.groups
            case "shell":
                return [account.shell]
            case "home":
                return [account.home]
            case "comment":
                return [account.comment]
        return [rule.searched for rule in self.rules]


@dataclass(slots=True, kw_only=True)
class Host:
    """All of it."""

    people: list[Person] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    rules: list[SudoRule] = field(default_factory=list)
    login_sources: list[str] = field(default_factory=list)


def read_host(root: str, notes: Notes, *, deadline_s: float) -> Host:
    """Read the files of a Linux host, or of a copy of one below `root`.

    Directories (LDAP, systemd-homed) are not asked: that would run their libraries' code, and leave the host.
    """
    accounts = parse_passwd(_text(root, ACCOUNTS, notes), _spoiled(ACCOUNTS, notes))
    groups = parse_group(_text(root, GROUPS, notes), _spoiled(GROUPS, notes))
    shadow = _text(root, SHADOW, notes) if any(account.password == UNKNOWN for account in accounts) else b""
    join(accounts, groups, parse_shadow(shadow, _spoiled(SHADOW, notes)))
    logins = Logins(root, notes, deadline_s=deadline_s)
    newest = logins.of(accounts)
    sudoers = read_sudoers(root, notes)
    rules = _sudo_rules(sudoers, notes)
    of_account = _rules_of(accounts, rules, sudoers)
    people = [
        Person(account=account, login=login, rules=mine)
        for account, login, mine in zip(accounts, newest, of_account, strict=True)
    ]
    return Host(people=people, groups=groups, rules=rules, login_sources=logins.sources)


def _sudo_rule(rule: Rule, sudoers: Sudoers) -> SudoRule:
    who = ", ".join(rule.who)
    searched = f"{who} {sudoers.text(rule, arguments=True)}".encode("utf-8", "surrogateescape")
    return SudoRule(rule=rule, who=who, shown=sudoers.text(rule, arguments=False), searched=searched)


def _sudo_rules(sudoers: Sudoers, notes: Notes) -> list[SudoRule]:
    rules: list[SudoRule] = []
    left = MAX_RULE_BYTES
    for rule in sudoers.rules:
        made = _sudo_rule(rule, sudoers)
        left -= len(made.searched)
        if left < 0:
            notes.note(
                f"sudoers: the rules are too long; only the first {len(rules)} of {len(sudoers.rules)} are known"
            )
            break
        rules.append(made)
    return rules


def _rules_of(accounts: list[Account], rules: list[SudoRule], sudoers: Sudoers) -> list[list[SudoRule]]:
    """The rules for each account, found by what they name: there may be thousands of both."""
    users = [sudoers.users_of(one.rule) for one in rules]
    naming: dict[str, list[int]] = {}
    for number, named in enumerate(users):
        for key in named:
            naming.setdefault(key, []).append(number)
    found = []
    for account in accounts:
        keys = keys_of(os.fsdecode(account.name), account.uid, map_names(account.groups), account.gids)
        numbers = sorted({number for key in keys for number in naming.get(key, ())})
        found.append([rules[number] for number in numbers if _is_for(users[number], keys)])
    return found


def _is_for(named: dict[str, bool], keys: set[str]) -> bool:
    """The last item that fits decides, as for sudo."""
    return next((wanted for key, wanted in reversed(named.items()) if key in keys), False)


def map_names(names: list[bytes]) -> list[str]:
    """Names as sudoers' text has them."""
    return [os.fsdecode(name) for name in names]


def _spoiled(path: str, notes: Notes) -> Callable[[int], None]:
    return lambda number: notes.error(f"could not understand {path}, line {number}")


def _text(root: str, path: str, notes: Notes) -> bytes:
    try:
        descriptor = open_file(os.fsencode(root.rstrip("/") + path), follow=True)
        with os.fdopen(descriptor, "rb") as file:
            text = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        notes.error(f"could not read {path}: {reason(error)}")
        return b""
    if len(text) > MAX_FILE_BYTES:
        notes.note(f"{path}: only its first {MAX_FILE_BYTES >> 20} MiB were read")
    return text[:MAX_FILE_BYTES]
