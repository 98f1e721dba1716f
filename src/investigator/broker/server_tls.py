"""The server's certificate while it runs: made and renewed by the deployment's CA, or watched where it is the user's own."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from investigator.broker import certificates
from investigator.broker.server import EmbeddedServer
from investigator.broker.tls import ClientTls
from investigator.errors import DeploymentError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from investigator.broker.certificates import Certificate
    from investigator.config import BrokerConfig

HANDSHAKE_WITHIN_S: Final = 5
"""Who connects and says nothing is cut off after that."""


@dataclass(slots=True)
class ServerTls:
    """What a server shows, and whom it asks to show something."""

    certificate: Path
    key: Path
    ca: Path
    authority: Path | None = None
    """The folder of the CA that renews the certificate; None where the files are the user's."""
    names: Sequence[str] = ()
    verify: bool = False
    now_s: Callable[[], float] = time.time
    _known: tuple[object, ...] = field(default=(), init=False)
    _expires_s: float = field(default=0.0, init=False)

    @classmethod
    def of_deployment(
        cls, folder: Path, *, names: Sequence[str], verify: bool = False, now_s: Callable[[], float] = time.time
    ) -> ServerTls:
        """The certificate that the CA in this folder makes."""
        place = (folder / certificates.SERVER, folder / certificates.SERVER_KEY, folder / certificates.CA)
        return cls(*place, authority=folder, names=names, verify=verify, now_s=now_s)

    def prepare(self) -> list[str]:
        """Make or renew the certificate if need be, before the server starts; what was done, one line each.

        Raises:
            DeploymentError: a file is missing or wrong, or a certificate of the user's has expired.
        """
        done = []
        why = self._why_renew()
        if self.authority is not None and why:
            try:
                done.append(self._renew(why))
            except DeploymentError as error:  # the CA's key may be in a safe: what is still good serves
                if not self.certificate.exists():
                    raise
                done.append(f"the certificate is not renewed, though {why}: {error}")
        certificates.check_pair(self.certificate, self.key)
        certificates.read_certificates(self.ca)
        self._remember()
        if self._left_days() < 0:
            raise DeploymentError(
                f"{self.certificate}: expired {int(-self._left_days())} days ago; nobody would take it",
                hint="Put another one there, with its key.",
            )
        return done

    def keep(self) -> str:
        """Renew it if it is time, or notice that its files changed; what was done, for the server to read it again.

        Raises:
            DeploymentError: it is time and cannot be done, or the changed files do not belong together.
        """
        if self.authority is not None and self._left_days() < certificates.RENEW_WITH_DAYS_LEFT:
            line = self._renew("half of its life is over")
            self._remember()
            return line
        stamp = self.stamp()
        if stamp == self._known:
            return ""
        self._known = stamp  # a change that is no good is told once
        certificates.check_pair(self.certificate, self.key)
        certificates.read_certificates(self.ca)
        self._remember()
        return f"the certificate changed: {_told(certificates.read_certificate(self.certificate))}"

    def settings(self) -> dict[str, Any]:
        """The block `tls` of a nats-server's configuration."""
        return {
            "cert_file": str(self.certificate),
            "key_file": str(self.key),
            "ca_file": str(self.ca),
            "verify": self.verify,
            # Nothing is said to who does not speak TLS first: no version, no nonce, no address.
            "handshake_first": True,
            "min_version": "1.3",
            "timeout": HANDSHAKE_WITHIN_S,
        }

    def as_client(self) -> ClientTls:
        """For whoever runs the server: its certificate is good for a client too, which `verify` asks for."""
        return ClientTls(self.ca, self.certificate, self.key)

    def stamp(self) -> tuple[object, ...]:
        """What differs when one of the files was changed."""
        return self.as_client().stamp()

    def _left_days(self) -> float:
        return (self._expires_s - self.now_s()) / 86400

    def _remember(self) -> None:
        self._known = self.stamp()
        self._expires_s = certificates.read_certificate(self.certificate).not_after_s

    def _renew(self, why: str) -> str:
        assert self.authority is not None
        # An attempt that fails is told, and made again in an hour: the disk may be full.
        self._expires_s = max(self._expires_s, self.now_s() + 3600 + certificates.RENEW_WITH_DAYS_LEFT * 86400)
        made = certificates.make_server(self.authority, self.names, now_s=self.now_s())
        return f"renewed the certificate ({why}): {_told(made)}"

    def _why_renew(self) -> str:
        try:
            certificates.check_pair(self.certificate, self.key)
            present = certificates.read_certificate(self.certificate)
        except DeploymentError:
            return "there was none, or not with its key"
        if present.days_left(self.now_s()) < certificates.RENEW_WITH_DAYS_LEFT:
            return "half of its life is over"
        missing = [name for name in self.names if certificates.canonical_host(name) not in present.hosts]
        return f"it was not for {', '.join(missing)}" if missing else ""


def server_tls(config: BrokerConfig) -> ServerTls | None:
    """As broker.toml has it; None for plain text.

    Raises:
        DeploymentError: one's own files are not all three named.
    """
    tls = config.tls
    if tls is None:
        return None
    match tls.certificate, tls.key, tls.ca:
        case None, None, None:
            return ServerTls.of_deployment(config.store, names=tls.names, verify=tls.verify)
        case (certificate, key, ca) if certificate is not None and key is not None and ca is not None:
            return ServerTls(certificate, key, ca, verify=tls.verify)
    raise DeploymentError("broker.toml: [tls]: certificate, key and ca come together, or not at all")


def services_address(config: BrokerConfig) -> tuple[str, ClientTls | None]:
    """Where the deployment's services find their broker, which is not necessarily here, and whom they trust as such.

    Raises:
        DeploymentError: as `server_tls`.
    """
    tls = server_tls(config)
    if config.cluster is None:
        url = EmbeddedServer(config.store, host=config.host, port=config.port, tls=tls).url
        return url, tls.as_client() if tls is not None else None
    ca = tls.ca if tls is not None else config.store / certificates.CA
    own = (config.store / certificates.CLIENT, config.store / certificates.CLIENT_KEY)
    return config.cluster.url, ClientTls(ca, *own) if own[0].exists() else ClientTls(ca)


def _told(certificate: Certificate) -> str:
    until = time.strftime("%Y-%m-%d", time.gmtime(certificate.not_after_s))
    return f"good until {until} for {', '.join(certificate.hosts) or certificate.name}"
