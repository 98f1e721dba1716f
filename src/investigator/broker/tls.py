"""TLS as agents and consoles speak it: from the first byte on, to whom one pinned CA vouches for; plain text on loopback only.

The handshake comes before anything that NATS says (`handshake_first` in the server's configuration), so that whoever sits
on the way sees no greeting, no nonce and no name, and cannot say that TLS is not needed. TLS 1.3 and nothing older: every
Python and every nats-server that we run on has it.
"""

from __future__ import annotations

import ipaddress
import logging
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from investigator.errors import BrokerError, DeploymentError

if TYPE_CHECKING:
    from pathlib import Path
    from urllib.parse import ParseResult, SplitResult

PLAIN: Final = "nats"
ENCRYPTED: Final = "tls"
_log = logging.getLogger(__name__)

_EXPIRED: Final = 10  # OpenSSL's X509_V_ERR_*
_NOT_YET_VALID: Final = 9
_WRONG_HOST: Final = (62, 64)
_SAID: Final = {
    "WRONG_VERSION_NUMBER": "it does not answer in TLS; is it a broker with `handshake_first`?",
    "RECORD_LAYER_FAILURE": "it does not answer in TLS; is it a broker with `handshake_first`?",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it asks for a certificate of ours: [broker] certificate and key",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not take our certificate: it is not of its CA",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it does not take our certificate",
    "TLSV1_ALERT_PROTOCOL_VERSION": "it speaks no TLS 1.3",
    "UNSUPPORTED_PROTOCOL": "it speaks no TLS 1.3",
}
"""By OpenSSL's names of what went wrong."""


@dataclass(frozen=True, slots=True)
class ClientTls:
    """Whom to trust as a broker, and what to show to one that asks who we are."""

    ca: Path
    """PEM: the only authorities that count; several while one takes over from another."""
    certificate: Path | None = None
    """PEM, with `key`: for a broker with `verify`."""
    key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """The files as they are now.

        Raises:
            DeploymentError: one is not there, or not what it should be.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks certificate and host name
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # what stands in the file counts, a root or not
        doing, place = "the broker's CA", self.ca
        try:
            context.load_verify_locations(self.ca)
            if self.certificate is not None:
                doing, place = "our certificate", self.certificate
                context.load_cert_chain(self.certificate, self.key, password=_no_password)
        except ssl.SSLError:
            raise DeploymentError(f"{doing} {place}: not in PEM form, or without its key") from None
        except (OSError, ValueError) as error:
            told = getattr(error, "strerror", None) or error
            raise DeploymentError(
                f"{doing} {place}: {told}", hint="Copy it from the deployment that `investigator init` made."
            ) from None
        return context

    def stamp(self) -> tuple[object, ...]:
        """What differs when one of the files was changed."""
        return tuple(_stamp(path) for path in (self.ca, self.certificate, self.key) if path is not None)


class Contexts:
    """The context of a supervised connection: made once, and anew when a file of it changed.

    So a host takes another CA, or its own renewed certificate, with the next connection, and no restart.
    """

    def __init__(self, tls: ClientTls) -> None:
        """Raises `DeploymentError`: what is wrong at the start is told at the start."""
        self._tls = tls
        self._stamp = tls.stamp()
        self._context = tls.context()

    def now(self) -> ssl.SSLContext:
        """The files as they are, or as they were while they are no good: half a copy must not cut a host off."""
        stamp = self._tls.stamp()
        if stamp != self._stamp:
            try:
                self._context = self._tls.context()
            except DeploymentError as error:
                _log.warning("%s; what was read before stays in force", error)
            self._stamp = stamp
        return self._context


def split_servers(url: str) -> list[str]:
    """`tls://a:4222,tls://b:4222` as its servers; one without a scheme is taken as `nats://`, as nats-py does."""
    servers = [one.strip() for one in url.split(",")]
    return [one if "://" in one or not one else f"{PLAIN}://{one}" for one in servers]


def check_server(server: str, tls: ClientTls | None) -> None:
    """Whether this address can be tried at all; nothing is sent, and no name looked up.

    Raises:
        BrokerError: it is none.
        DeploymentError: see `refuse_plain_text`.
    """
    try:
        uri = urlsplit(server)
        scheme = uri.scheme if uri.hostname and uri.port != 0 else ""
    except ValueError:
        scheme = ""
    if scheme not in (PLAIN, ENCRYPTED):
        raise BrokerError(f"broker {server or '(no address)'}: not an address of the form tls://host:port")
    refuse_plain_text(uri, tls)


def refuse_plain_text(uri: SplitResult | ParseResult, tls: ClientTls | ssl.SSLContext | None) -> None:
    """Raise `DeploymentError` for an address that would be spoken to in clear, or without knowing whom to trust."""
    if uri.scheme == PLAIN and not is_loopback(uri.hostname or ""):
        raise DeploymentError(
            f"broker {uri.geturl()}: plain text is spoken on this machine's loopback addresses only",
            hint='Write tls://, and under [broker] ca = "…", the file broker/ca.pem of the deployment.',
        )
    if uri.scheme == ENCRYPTED and tls is None:
        raise DeploymentError(
            f"broker {uri.geturl()}: no CA to know it by",
            hint='Under [broker] say ca = "…", the file broker/ca.pem of the deployment.',
        )


def is_loopback(host: str) -> bool:
    """Whether what is sent there never leaves this machine; no name is looked up."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.rstrip(".").lower() == "localhost"  # RFC 6761 keeps it so


def plain_text_notice(url: str) -> str:
    """What to tell once of a connection that is not encrypted; empty for one that is."""
    plain = [one for one in split_servers(url) if urlsplit(one).scheme == PLAIN]
    return f"the connection to {', '.join(plain)} is not encrypted: it stays on this machine" if plain else ""


def said_by_tls(error: ssl.SSLError) -> str:
    """What went wrong, in words that say what to look at."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code == _EXPIRED:
            return "its certificate, or its CA's, has expired (or this host's clock is wrong)"
        if error.verify_code == _NOT_YET_VALID:
            return "its certificate is not valid yet (or this host's clock is wrong)"
        if error.verify_code in _WRONG_HOST:
            return f"it is another host's: {error.verify_message.rstrip('.')}"
        return f"its certificate is not of the CA that we trust: {error.verify_message}"
    reason = error.reason or ""
    return _SAID.get(reason, f"TLS: {reason.lower().replace('_', ' ') or 'it hung up'}")


def _no_password() -> str:
    """Never ask on a terminal."""
    return ""


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        info = path.stat()
    except OSError:
        return ()
    return info.st_ino, info.st_size, info.st_mtime_ns
