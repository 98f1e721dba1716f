"""The audit module: the kernel's audit records as alerts, from its netlink multicast group. It runs all the time.

`netlink` is the kernel's side, `records` reads a record, `telling` makes an alert of it, `listening` is the loop. Unlike
MIG's it takes no auditd's place and changes no rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec

from investigator.modules.interface import Need, Spec
from investigator.modules.persistent import NoParameters, PersistentModule
from investigator.protocol.result import Result

if TYPE_CHECKING:
    from investigator.modules.audit.listening import Listening
    from investigator.modules.persistent import Host


class Settings(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What `[modules.audit]` in agent.toml may say; `ratelimit` and `includeraw` are MIG's."""

    enable: bool = False
    """Turn the kernel's auditing on where it is off. Rules are never touched."""
    ratelimit: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 500
    """Records a second; what comes beyond is counted, and told as a number."""
    includeraw: bool = False
    """Also the record as the kernel wrote it, which may hold what commands were given: secrets too."""


class AuditModule(PersistentModule):
    """See the package's docstring."""

    spec = Spec(
        name="audit",
        summary="alerts for the kernel's audit records; runs all the time",
        parameters=NoParameters,
        flags=NoParameters,
        platforms=frozenset(("linux",)),
        needs=(
            Need(kind="capability", name="CAP_AUDIT_READ", why="listen to the kernel's audit"),
            Need(
                kind="capability",
                name="CAP_AUDIT_CONTROL",
                why="tell whether the kernel audits at all",
                essential=False,
            ),
        ),
        help_when_bare=False,
        details=(
            "It runs where agent.toml has a table [modules.audit], which may be empty. It joins the kernel's multicast group of audit records, "
            "so auditd, if there is one, keeps its place, and it changes no rules: what is recorded is what auditctl or augenrules say. Where "
            "auditing is off it says so, and does nothing; enable = true turns it on.\n\n"
            "Each record is an alert: high for anomalies and integrity, medium where a rule's key or a security policy is named, low otherwise. "
            "Its details are MIG's: Serial, Timestamp, Type, Data, and Raw, which is empty unless includeraw = true. What people type on "
            "terminals is left out. At most ratelimit (500) records a second are told, and how many were not.\n\n"
            "Records of the time in which the module does not run are lost: the kernel keeps none.\n\n"
            "An action that asks it is answered by the running module, with its numbers. With -t local it cannot be asked."
        ),
    )
    settings = Settings

    def __init__(self) -> None:
        self._listening: Listening | None = None

    def check_settings(self, settings: Settings) -> None:
        """The declaration says it all."""

    def watch(self, settings: Settings, host: Host) -> None:
        """For as long as the kernel audits; raises `NotAvailable` where it does not."""
        from investigator.modules.audit.listening import Listening

        self._listening = Listening(settings, host)
        self._listening.run()

    def answer(self, parameters: NoParameters) -> Result:  # noqa: ARG002 - the interface's
        """That it runs, as MIG's does, and its numbers."""
        if self._listening is None:
            return Result(success=True, foundanything=False, elements={"ok": False}, errors=["it is starting"])
        statistics = self._listening.statistics
        return Result(success=True, foundanything=True, elements={"ok": True}, statistics=statistics)


MODULE = AuditModule()
