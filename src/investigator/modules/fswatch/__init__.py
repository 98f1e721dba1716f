"""The fswatch module: tells what changes in files and folders, when, and from which hash to which. It runs all the time.

`settings` is its table in agent.toml, `places` where that leads on this host, `seeing` one path as it is, `baseline` what
was, `changes` the difference as alerts, `notifier` the system's hints, `watching` the loop. MIG's severities and texts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from investigator.modules.fswatch.settings import PLATFORMS, Settings, roots_of
from investigator.modules.interface import Need, Spec
from investigator.modules.persistent import NoParameters, PersistentModule
from investigator.protocol.result import Result

if TYPE_CHECKING:
    from investigator.modules.fswatch.watching import Watch
    from investigator.modules.persistent import Host


class FswatchModule(PersistentModule):
    """See the package's docstring."""

    spec = Spec(
        name="fswatch",
        summary="alerts when watched files change: what, when, from which hash to which; runs all the time",
        parameters=NoParameters,
        flags=NoParameters,
        platforms=PLATFORMS,
        needs=(
            Need(kind="package", name="watchfiles", why="be told of changes"),
            Need(kind="root", why="read files that only root can read", essential=False),
        ),
        help_when_bare=False,
        details=(
            "It runs where agent.toml has a table [modules.fswatch], which may be empty: MIG's paths are watched then (on Linux /boot, "
            "/etc/cron.d, /var/spool/cron, /bin, /sbin, /usr/bin, /usr/sbin, /etc/init.d, and recursively /etc and /etc/systemd). "
            'paths = ["/p", "recursive:/q"] names others: a file, a folder with what is directly in it, or all that is below. '
            "A path that is missing is awaited.\n\n"
            "Alerts: critical for a changed SHA-256 or kind (a file's at most once in 15 minutes), medium for new paths, modes, owners "
            "and links, low for removed paths, high where watching itself is in question. `investigator alerts` shows them.\n\n"
            "What each path was like is kept in the agent's state folder, so that what changed while the agent did not run is told at its "
            "next start. Beside the system's notifications everything is looked at every rescan_s (600) seconds. At most max_paths (100,000) "
            "paths are watched, and files up to max_hash_bytes (1 GiB) are hashed.\n\n"
            "An action that asks it is answered by the running module, with how much it watches. With -t local it cannot be asked."
        ),
    )
    settings = Settings

    def __init__(self) -> None:
        self._watch: Watch | None = None

    def check_settings(self, settings: Settings) -> None:
        """Raise `BadParameters` for paths that are none."""
        roots_of(settings)

    def watch(self, settings: Settings, host: Host) -> None:
        """For ever."""
        from investigator.modules.fswatch.watching import Watch

        self._watch = Watch(settings, host)
        self._watch.run()

    def answer(self, parameters: NoParameters) -> Result:  # noqa: ARG002 - the interface's
        """That it runs, as MIG's does, and with how much."""
        watch = self._watch
        if watch is None:
            return Result(success=True, foundanything=False, elements={"ok": False}, errors=["it is starting"])
        return Result(
            success=True,
            foundanything=True,
            elements={"ok": True},
            statistics=watch.statistics,
            errors=watch.problems or None,
        )


MODULE = FswatchModule()
