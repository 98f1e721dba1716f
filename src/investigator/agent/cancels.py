"""Cancels of actions that did not come yet: kept, so that the action does not run when it comes, after a restart either.

They are kept as they came and judged again then, by the keyring and the ACL of that moment. The list is capped, and so is the
part of it that one signer can fill: whoever signs thousands pushes out only their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from investigator.agent.database import database_errors, transaction

if TYPE_CHECKING:
    import sqlite3

    from investigator.protocol.cancel import Cancellation

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS cancels (
    number INTEGER PRIMARY KEY, action_digest TEXT NOT NULL, cancel_digest TEXT NOT NULL, signers TEXT NOT NULL,
    envelope BLOB NOT NULL, UNIQUE (cancel_digest, signers)
);
CREATE INDEX IF NOT EXISTS cancels_of_action ON cancels (action_digest);
"""
_WHAT: Final = "the kept cancels"
MAX_KEPT: Final = 1000
MAX_KEPT_PER_SIGNER: Final = 100


class Cancels:
    """Envelopes of cancels (without the action that travelled with them), by the digest of the action.

    Every method raises `DeploymentError` where the database cannot be read or written.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        """Open the table in the agent's database."""
        self._database = database
        with database_errors(_WHAT):
            database.executescript(_SCHEMA)

    def keep(self, cancellation: Cancellation) -> None:
        """Keep a cancel; on return it is on the disk. The same bytes by the same signers are kept once, however wrapped."""
        signers = " ".join(cancellation.signers)
        with transaction(self._database, _WHAT):
            self._database.execute(
                "INSERT OR IGNORE INTO cancels (action_digest, cancel_digest, signers, envelope) VALUES (?, ?, ?, ?)",
                (cancellation.cancel.digest, cancellation.digest, signers, cancellation.bare),
            )
            oldest = "DELETE FROM cancels WHERE number IN (SELECT number FROM cancels {} ORDER BY number DESC LIMIT -1 OFFSET ?)"
            self._database.execute(
                oldest.format("WHERE substr(signers, 1, 40) = ?"), (signers[:40], MAX_KEPT_PER_SIGNER)
            )
            self._database.execute(oldest.format(""), (MAX_KEPT,))

    def of(self, action_digest: str) -> list[bytes]:
        """What was kept for this action, to be judged now."""
        query = "SELECT envelope FROM cancels WHERE action_digest = ? ORDER BY number"
        with database_errors(_WHAT):
            return [envelope for (envelope,) in self._database.execute(query, (action_digest,))]

    def forget(self, action_digest: str) -> None:
        """The action came: it stands in the ledger now, and never runs again."""
        with database_errors(_WHAT):
            self._database.execute("DELETE FROM cancels WHERE action_digest = ?", (action_digest,))
