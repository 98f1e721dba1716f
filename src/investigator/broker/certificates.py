"""Certificates of a deployment: a private CA, the server's certificate, and clients' where the broker asks for them.

All keys are EC P-256, which nats-server, every `ssl` and every NATS client take. A certificate of ours says what it is
for, and a server's names every host that agents and consoles call it by. Reading is for any certificate, also those that
somebody else's CA made.
"""

from __future__ import annotations

import ipaddress
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from investigator.errors import BadInput, DeploymentError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

CA: Final = "ca.pem"
CA_KEY: Final = "ca.key"
SERVER: Final = "server.pem"
SERVER_KEY: Final = "server.key"
CLIENT: Final = "client.pem"
CLIENT_KEY: Final = "client.key"
CA_DAYS: Final = 3653
SERVER_DAYS: Final = 90
RENEW_WITH_DAYS_LEFT: Final = 45
"""A running broker renews its own certificate when half of its life is left, long before anybody is warned."""
WARN_WITH_DAYS_LEFT: Final = 30
LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "::1")
MAX_CERTIFICATE_BYTES: Final = 1 << 20
_CLOCK_SKEW: Final = timedelta(hours=1)
"""Of hosts whose clock is behind the one that made the certificate."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What is to be known of a certificate; times in seconds since 1970."""

    name: str
    """The subject's common name, or the whole subject where it has none."""
    hosts: tuple[str, ...]
    """Names and addresses that it is for."""
    not_before_s: float
    not_after_s: float
    fingerprint: str
    """SHA-256 of the certificate, in hex."""

    def days_left(self, now_s: float) -> float:
        """Negative when it has expired."""
        return (self.not_after_s - now_s) / 86400


def make_authority(folder: Path, *, name: str, now_s: float) -> None:
    """Make the CA of a deployment: `ca.pem`, which everybody may read and agents pin, and `ca.key`.

    Raises:
        DeploymentError: one of the files is there already, or cannot be written.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(f"investigator CA {name}")
    builder = (
        _builder(subject, subject, key, now_s, CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    write_new(folder / CA, _pem(builder.sign(key, hashes.SHA256())), mode=0o644)
    write_new(folder / CA_KEY, _key_pem(key))


def renew_authority(folder: Path, *, name: str, now_s: float) -> None:
    """Make another CA: from now on it makes certificates, and `ca.pem` holds it before those that were there.

    So certificates of the old one are good until the last of them was replaced and `ca.pem` holds the new one alone.

    Raises:
        DeploymentError: there is none yet, or the files cannot be written.
    """
    present = _read(folder / CA)
    _load_key(folder / CA_KEY)
    with tempfile.TemporaryDirectory(prefix=".ca-", dir=folder) as scratch:
        made = Path(scratch)
        make_authority(made, name=name, now_s=now_s)
        # The new key first: with it and the old file no certificate is made, with the old key and the new file neither.
        _replace(folder / CA_KEY, _read(made / CA_KEY))
        _replace(folder / CA, _read(made / CA) + present, mode=0o644)


def make_server(
    folder: Path, hosts: Iterable[str], *, now_s: float, into: Path | None = None, days: int = SERVER_DAYS
) -> Certificate:
    """Make a server's certificate by the CA in that folder: `server.pem` and `server.key`, or new ones in their place.

    It is also good as a client's, for a server calls other servers of its cluster.

    Args:
        folder: where the CA's files are.
        hosts: names and addresses by which it is called; those of this machine's loopback are added.
        now_s: the time.
        into: another folder to put it into.
        days: how long it is good for, if the CA is.

    Raises:
        DeploymentError: no CA, or no place.
        BadInput: a host that is neither a name nor an address.
    """
    names = tuple(dict.fromkeys((*map(canonical_host, hosts), *LOCAL_NAMES)))
    usages = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
    certificate, key = _issue(folder, names[0], names, usages=usages, now_s=now_s, days=days)
    place = into or folder
    _replace(place / SERVER_KEY, key)
    _replace(place / SERVER, certificate, mode=0o644)
    return read_certificate(place / SERVER)


def make_client(folder: Path, name: str, *, now_s: float) -> tuple[bytes, bytes]:
    """A client's certificate by the CA in that folder, and its private key, in PEM; good for as long as the CA is.

    Raises:
        DeploymentError: no CA.
    """
    return _issue(folder, name, (), usages=(ExtendedKeyUsageOID.CLIENT_AUTH,), now_s=now_s, days=CA_DAYS)


def save_client(folder: Path, name: str, *, now_s: float, into: Path | None = None) -> None:
    """`client.pem` and `client.key` by the CA in that folder, into it or another.

    Raises:
        DeploymentError: no CA, no place, or they are there already.
    """
    certificate, key = make_client(folder, name, now_s=now_s)
    write_new((into or folder) / CLIENT, certificate, mode=0o644)
    write_new((into or folder) / CLIENT_KEY, key)


def read_certificates(path: Path) -> list[Certificate]:
    """All certificates in a PEM file, as they stand in it; never none.

    Raises:
        DeploymentError: it is not there, or holds none.
    """
    raw = _read(path)
    try:
        found = x509.load_pem_x509_certificates(raw)
    except ValueError:
        raise DeploymentError(f"{path}: no certificate in PEM form") from None
    return [_described(one) for one in found]


def read_certificate(path: Path) -> Certificate:
    """The first certificate in a PEM file, which is the server's own where others of its chain follow.

    Raises:
        DeploymentError: it is not there, or holds none.
    """
    return read_certificates(path)[0]


def describe_der(der: bytes) -> Certificate:
    """A certificate as a TLS connection has it; raises `ValueError`."""
    return _described(x509.load_der_x509_certificate(der))


def check_pair(certificate: Path, key: Path) -> None:
    """Raise `DeploymentError` unless the key is the certificate's: a server with another one would take nobody."""
    try:
        leaf = x509.load_pem_x509_certificates(_read(certificate))[0]
    except ValueError:
        raise DeploymentError(f"{certificate}: no certificate in PEM form") from None
    if _public(leaf.public_key()) != _public(_load_key(key).public_key()):
        raise DeploymentError(f"{key}: not the key of {certificate}")


def canonical_host(host: str) -> str:
    """A name or address as a certificate holds it; raises `BadInput` unless it can be for it."""
    return str(_general_name(host).value)


def _issue(
    folder: Path,
    name: str,
    hosts: Sequence[str],
    *,
    usages: Sequence[x509.ObjectIdentifier],
    now_s: float,
    days: int,
) -> tuple[bytes, bytes]:
    authority = x509.load_pem_x509_certificates(_read(folder / CA))[0]
    authority_key = _load_key(folder / CA_KEY)
    if not isinstance(authority_key, ec.EllipticCurvePrivateKey):
        raise DeploymentError(f"{folder / CA_KEY}: not a key that `investigator init` made")
    if _public(authority.public_key()) != _public(authority_key.public_key()):
        raise DeploymentError(f"{folder / CA_KEY}: not the key of {folder / CA}")
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(_subject(name), authority.subject, key, now_s, days, latest=authority.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
    )
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName(map(_general_name, hosts)), critical=False)
    return _pem(builder.sign(authority_key, hashes.SHA256())), _key_pem(key)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now_s: float,
    days: int,
    *,
    latest: datetime | None = None,
) -> x509.CertificateBuilder:
    now = datetime.fromtimestamp(now_s, UTC)
    until = now + timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(min(until, latest) if latest else until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    with suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(host))
    labels = host.rstrip(".").split(".")
    if not all(label and len(label) <= 63 and label.replace("-", "a").isalnum() for label in labels):
        raise BadInput(f"{host[:80]!r} is neither a host's name nor an address")
    if not host.isascii() or len(host) > 253:
        raise BadInput(f"{host[:80]!r}: a name in ASCII, of 253 characters at most (xn--… for others)")
    return x509.DNSName(host.rstrip("."))


def _described(certificate: x509.Certificate) -> Certificate:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        hosts: tuple[str, ...] = ()
    else:
        addresses = map(str, names.get_values_for_type(x509.IPAddress))
        hosts = (*names.get_values_for_type(x509.DNSName), *addresses)
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return Certificate(
        name=str(common[0].value) if common else certificate.subject.rfc4514_string(),
        hosts=hosts,
        not_before_s=certificate.not_valid_before_utc.timestamp(),
        not_after_s=certificate.not_valid_after_utc.timestamp(),
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
    )


def _public(key: object) -> bytes:
    assert hasattr(key, "public_bytes")
    return bytes(
        key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo),
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _load_key(path: Path) -> PrivateKeyTypes:
    try:
        return serialization.load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError):  # TypeError: it is encrypted, and nats-server could not read it either
        raise DeploymentError(f"{path}: no private key in PEM form that needs no password") from None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_CERTIFICATE_BYTES)
    except OSError as error:
        raise DeploymentError(f"{path}: {error.strerror}") from None


def write_new(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Raises `DeploymentError` where there is such a file already, or no place."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    except OSError as error:
        raise DeploymentError(f"{path}: {error.strerror}") from None


def _replace(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Whole or not at all: a broker may be about to read it."""
    scratch = path.with_name(f"{path.name}.new")
    with suppress(OSError):
        scratch.unlink()
    write_new(scratch, content, mode=mode)
    try:
        scratch.replace(path)
    except OSError as error:
        raise DeploymentError(f"{path}: {error.strerror}") from None
