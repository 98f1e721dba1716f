"""Revocations that came over the wire and proved themselves: kept for good, whatever keyring is deployed later.

A key that its owner gave up stays given up here, even where an old copy of the keyring folder brings it back.
"""

from __future__ import annotations

import contextlib
import re
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Protocol, Self

from investigator.agent.durable import write_private
from investigator.agent.permissions import refuse_loose
from investigator.errors import DeploymentError, Refused
from investigator.protocol.admission import Keyring
from investigator.protocol.revocation import MAX_REVOCATION_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SUFFIX: Final = ".rev"
MAX_ASIDE: Final = 100
MAX_KEPT: Final = 1000
"""As many as a keyring has certificates at most: only those of its own are kept, one each."""
_NAME: Final = re.compile(r"[0-9A-F]{40}\.rev")


class TrustedKeys(Keyring, Protocol):
    """A keyring that can be told of revocations: `pgp.Keyring`."""

    def revoked_by(self, packet: bytes) -> str:
        """The certificate that this packet revokes, and that made it; raises `Refused` for anything else."""

    def with_revocations(self, packets: Mapping[str, bytes]) -> Self:
        """The same keyring without these keys; `packets` are names to packets."""


class Revocations:
    """Packets by the fingerprint that they revoke, as files `FINGERPRINT.rev` of a folder."""

    def __init__(self, folder: Path | None) -> None:
        """Read what was kept; with None there is no folder, and nothing outlives the process.

        Raises:
            DeploymentError: the folder or a file in it cannot be read, or others may write it: without it, a key that
                was given up would count again.
        """
        self._folder = folder
        self._packets: dict[str, bytes] = {}
        self._last: tuple[TrustedKeys, TrustedKeys] | None = None
        self._aside: OrderedDict[bytes, None] = OrderedDict()
        self._tried_on: TrustedKeys | None = None
        if folder is None or not folder.exists():
            return
        refuse_loose(folder)
        try:
            for path in sorted(folder.iterdir()):
                if _NAME.fullmatch(path.name):
                    refuse_loose(path)
                    with path.open("rb") as file:
                        self._packets[path.stem] = file.read(MAX_REVOCATION_BYTES)
        except OSError as error:
            raise DeploymentError(f"{error.filename or folder}: {error.strerror}") from None

    def __contains__(self, fingerprint: object) -> bool:
        """Whether this key's revocation is kept."""
        return fingerprint in self._packets

    @property
    def fingerprints(self) -> list[str]:
        """The keys that were given up."""
        return sorted(self._packets)

    def whose(self, packet: bytes, keyring: TrustedKeys) -> str:
        """The certificate of this keyring that a packet revokes.

        One that fits no key is set aside, for when an old copy of the keyring brings the key back.

        Raises:
            Refused: it is no revocation of a key in there.
        """
        try:
            return keyring.revoked_by(packet)
        except Refused:
            self._aside[packet] = None
            if len(self._aside) > MAX_ASIDE:
                self._aside.popitem(last=False)
            raise

    def keep(self, fingerprint: str, packet: bytes) -> None:
        """Keep a revocation that `TrustedKeys.revoked_by` took. It counts from now on, even where this raises.

        Raises:
            DeploymentError: it is not on the disk, and would be forgotten with this process.
        """
        if fingerprint in self._packets or len(self._packets) >= MAX_KEPT:
            return
        self._packets[fingerprint] = packet
        self._last = None
        if self._folder is None:
            return
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            write_private(self._folder / f"{fingerprint}{SUFFIX}", packet)
        except OSError as error:
            raise DeploymentError(f"{self._folder}: {error.strerror}") from None

    def applied(self, keyring: TrustedKeys) -> TrustedKeys:
        """The keyring without the keys that were revoked; cheap while neither changes.

        Raises:
            DeploymentError: as `keep` does.
        """
        if self._tried_on is not keyring:
            self._tried_on = keyring
            for packet in list(self._aside):
                with contextlib.suppress(Refused):
                    self.keep(keyring.revoked_by(packet), packet)
        if not self._packets:
            return keyring
        if self._last is None or self._last[0] is not keyring:
            named = {f"revocations/{fingerprint}{SUFFIX}": packet for fingerprint, packet in self._packets.items()}
            self._last = keyring, keyring.with_revocations(named)
        return self._last[1]
