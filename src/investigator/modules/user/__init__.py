"""The user module: accounts with their groups, passwords' states, last logins and sudo rules.

`parameters` is what may be asked, `accounts`, `utmp` and `sudoers` read texts and records, `logins` and `sudo_files` find
them, `host` puts them together, `report` says what was found. MIG has no such module; it is asked like the file module.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from investigator.modules.interface import Context, Need, Spec
from investigator.modules.notes import Notes
from investigator.modules.processes.crew import end_before
from investigator.modules.user.host import read_host
from investigator.modules.user.parameters import (
    Parameters,
    ParametersFlags,
    make_checks,
    only_regexes,
    parameters_of_flags,
)
from investigator.modules.user.report import Report, masked, result_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from investigator.modules.user.host import Host
    from investigator.modules.user.parameters import Check
    from investigator.protocol.result import Result

_ALONE: Final = frozenset(("group", "sudo"))


class UserModule:
    """See the package's docstring; stateless."""

    spec = Spec(
        name="user",
        summary="find accounts by name, group, shell, password state, last login and sudo rules",
        parameters=Parameters,
        flags=ParametersFlags,
        platforms=frozenset(("linux",)),
        needs=(
            Need(kind="root", why="know the states of passwords and the rules of sudo", essential=False),
            Need(kind="path", name="/etc/passwd", why="have accounts at all"),
        ),
        details=(
            "Reads the host's own files: passwd, group, shadow, sudoers with all that it includes, utmp, wtmp, lastlog, and "
            "systemd's lastlog2 and wtmpdb. Accounts of a directory (LDAP, systemd-homed) are not asked for.\n\n"
            "All checks must hold, or one with -matchany. A check on groups or sudo rules holds if it does for any of the "
            "account's; asked alone, the groups and rules that match are listed too, whoever they are for.\n\n"
            "A password is `none` (anybody may log in), `locked` (nobody by password), `set`, or `unknown` where shadow cannot "
            "be read. Hashes are never returned, nor are the arguments of commands in sudo rules, which a regular expression "
            "does search: `/usr/bin/mysql …`. Aliases are replaced by what they stand for, and one blank follows each tag "
            "(`NOPASSWD: ALL`).\n\n"
            "A last login is the newest that any of the records has; `>90d` holds also for accounts that never logged in, and "
            "records that were rotated away are not there to be read."
        ),
        examples=(
            ("every account with uid 0", "-uid 0"),
            ("who may become root without a password", "-sudo NOPASSWD"),
            ("people who can log in and did not for 90 days", "-uid '>1000' -password set -lastlogin '>90d'"),
            ("accounts without a password", "-password none"),
            ("who is in which powerful group", "-group '^(root|sudo|wheel|docker|disk|shadow)$'"),
        ),
    )

    def __init__(self, root: str = "/") -> None:
        """`root` is the folder that the host's files are below."""
        self._root = root

    def check(self, parameters: Parameters, *, local: bool) -> None:  # noqa: ARG002 - the interface's
        """Raise `BadParameters` or `BadRegex`, starting with the parameter's name."""
        make_checks(parameters)

    def from_flags(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The flags are the parameters; matchany wins over matchall."""
        return parameters_of_flags(values)

    def run(self, parameters: Parameters, context: Context) -> Result:
        """Read all, judge each account."""
        began_ns = time.monotonic_ns()
        checks, notes = make_checks(parameters), Notes()
        host = read_host(self._root, notes, deadline_s=end_before(context.deadline_s))
        report = Report(notes, context, limit=parameters.options.matchlimit, began_ns=began_ns)
        judge = all if parameters.options.matchall else any
        for person in host.people:
            if judge(check.holds(person, context.now) for check in checks):
                report.account(person)
        _beside(host, checks, report, alone=parameters.options.matchall)
        if any(check.kind == "lastlogin" for check in checks) and not host.login_sources:
            notes.note("this host keeps no record of logins: who ever logged in is unknown")
        return report.result(host)

    def lines(self, result: Mapping[str, Any], *, everything: bool) -> Iterator[str]:
        """See `report.result_lines`."""
        return result_lines(result, everything=everything)

    def masked(self, result: Mapping[str, Any], parameters: Parameters) -> dict[str, Any]:  # noqa: ARG002 - the interface's
        """See `report.masked`."""
        return masked(result)


def _beside(host: Host, checks: list[Check], report: Report, *, alone: bool) -> None:
    """Groups and rules that match, where nothing else was asked, or one check is enough."""
    kinds = {check.kind for check in checks}
    if alone and not (len(kinds) == 1 and kinds <= _ALONE):
        return
    judge = all if alone else any
    groups = list(only_regexes(checks, "group"))
    for group in host.groups if groups else ():
        if judge(check.matches(group.name) for check in groups):
            report.group(group)
    rules = list(only_regexes(checks, "sudo"))
    for rule in host.rules if rules else ():
        if judge(check.matches(rule.searched) for check in rules):
            report.sudo_rule(rule)


MODULE = UserModule()
