"""The loop of the module: listen, gather for a moment, tell."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from investigator.modules.audit import netlink
from investigator.modules.audit.telling import Rate, alert_of
from investigator.modules.persistent import NotAvailable
from investigator.protocol.alert import Alert

if TYPE_CHECKING:
    from investigator.modules.audit import Settings
    from investigator.modules.persistent import Host

GATHER_S: Final = 1.0
"""Records that come within this are told together."""
STATUS_EVERY_S: Final = 30.0


class Listening:
    """One life of the module."""

    def __init__(self, settings: Settings, host: Host) -> None:
        self._settings = settings
        self._host = host
        self._rate = Rate(settings.ratelimit)
        self._overruns = 0
        self._untold_before = self._overruns_before = 0
        self.records = 0
        self.alerts = 0

    @property
    def statistics(self) -> dict[str, int]:
        """For whoever asks."""
        return {
            "records": self.records,
            "alerts": self.alerts,
            "untold": self._rate.untold,
            "overruns": self._overruns,
        }

    def run(self) -> None:
        """For as long as the kernel audits.

        Raises:
            NotAvailable: it does not, or does not let this process listen.
        """
        try:
            self._check()
            with netlink.Listener() as listener:
                checked_s = time.monotonic()
                while True:
                    self.gather(listener)
                    self._host.beat()
                    if time.monotonic() - checked_s > STATUS_EVERY_S:
                        self._check()
                        checked_s = time.monotonic()
        except netlink.NotPermitted as error:
            raise NotAvailable(f"module audit is not available here: {error}") from None

    def gather(self, listener: netlink.Listener) -> None:
        """Take what comes within a moment, and tell it."""
        alerts: list[Alert] = []
        until_s = time.monotonic() + GATHER_S
        while (left_s := until_s - time.monotonic()) > 0:
            try:
                record = listener.receive(left_s)
            except netlink.Overrun:
                self._overruns += 1
                continue
            if record is None:
                continue
            self.records += 1
            alert = alert_of(record, include_raw=self._settings.includeraw, private=self._host.private)
            if alert is not None and self._rate.take():
                alerts.append(alert)
        alerts += self._left_out()
        if alerts:
            self._host.alert(*alerts)
            self.alerts += len(alerts)

    def _left_out(self) -> list[Alert]:
        untold, overruns = self._rate.untold - self._untold_before, self._overruns - self._overruns_before
        self._untold_before, self._overruns_before = self._rate.untold, self._overruns
        told = []
        if untold:
            told.append(f"{untold:,} audit records are not told: more than {self._settings.ratelimit:,} a second")
        if overruns:
            told.append(f"audit records were lost {overruns:,} times: they came faster than they were taken")
        return [Alert(severity="medium", alert=text, time_s=time.time()) for text in told]

    def _check(self) -> None:
        """See that the kernel audits; have it do so only if told."""
        if netlink.enabled() is False:
            if not self._settings.enable:
                raise netlink.NotPermitted(
                    "kernel auditing is off; `auditctl -e 1` turns it on, or enable = true in [modules.audit]"
                )
            netlink.enable()
