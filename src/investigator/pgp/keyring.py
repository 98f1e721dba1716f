"""The certificates that a deployment trusts: verification as a pure function of bytes, keyring and time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from investigator.pgp.certificate_file import key_revocations, read_certificate
from investigator.pgp.policy import NEVER, Policy, SignatureRefused
from investigator.pgp.signature import Signature, read_document_signature

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from investigator.pgp.certificate import Certificate


@dataclass(frozen=True, slots=True)
class Verified:
    """Who signed."""

    certificate: str
    """(11) The primary key's fingerprint, 40 upper-case hex digits: the identity that lists name, counted once."""
    key: str
    """The fingerprint of the key of that certificate that signed."""
    created: int
    """When, by its own account: seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A certificate as people see it. Times are seconds since 1970."""

    name: str
    """Of the file that it came from."""
    fingerprint: str
    user_ids: tuple[str, ...]
    """Those that hold; unprintable characters are replaced."""
    kind: str
    """Of the primary key: RSA-4096, Ed25519, NIST P-256 …"""
    created: int
    expires: int | None
    """By what is in force now; None: it does not."""
    revoked: str
    """The reason, or nothing."""
    signing_keys: tuple[str, ...]
    """Fingerprints of the keys that may sign for it now."""


class Keyring:
    """Trusted certificates; immutable, and safe to share between threads."""

    def __init__(
        self, policy: Policy, certificates: Mapping[str, Certificate], refused: Iterable[tuple[str, str]]
    ) -> None:
        """Take certificates, by the name of their file, that `load` has checked against each other."""
        self.policy = policy
        self.refused = tuple(refused)
        """(file name, reason) of the files that are not in force as they stand."""
        self._by_file = dict(certificates)
        self._signers: dict[str, tuple[Certificate, str]] = {}
        self._unusable: dict[str, str] = {}
        for certificate in certificates.values():
            for fingerprint in certificate.signers:
                self._signers.update(dict.fromkeys(_ids(fingerprint), (certificate, fingerprint)))
            for fingerprint, reason in certificate.unusable.items():
                self._unusable.update(dict.fromkeys(_ids(fingerprint), reason))

    @classmethod
    def load(
        cls,
        files: Mapping[str, bytes],
        policy: Policy | None = None,
        *,
        unreadable: Mapping[str, str] | None = None,
        previous: Keyring | None = None,
    ) -> Keyring:
        """Read key files, names to contents; no clock is asked, since `verify` judges by its own `now`.

        (12) A file that is refused is noted in `refused`, and the rest stands; so is one of `unreadable`, names to
        reasons. Where `previous` had a certificate under such a name, that one stays in force: a slip of an editor
        locks nobody out.
        (10) A key revocation revokes what it names, in whatever file it stands: as it is, if the file holds no good
        certificate; with a valid signature if it holds somebody else's, who could lock others out otherwise.
        """
        before = previous._by_file if previous else {}  # noqa: SLF001 - of the same class
        broken = dict(unreadable or {})
        trusted: dict[str, Certificate] = {}
        revocations: dict[str, list[Signature]] = {}
        for name in sorted(files):
            revocations[name], nothing_else = key_revocations(files[name])
            if nothing_else:
                continue
            try:
                trusted[name] = _unclaimed(read_certificate(files[name]), trusted)
            except SignatureRefused as reason:
                broken[name] = str(reason)
        good = set(trusted)
        for name in sorted(broken):
            if name in before and not _claimed(before[name], trusted):
                trusted[name] = before[name]
        for name, certificate in trusted.items():
            trusted[name] = _revoked(certificate, revocations, good)
        return cls(policy or Policy(), trusted, sorted(broken.items()))

    def __len__(self) -> int:
        """How many certificates are trusted, revoked and expired ones included."""
        return len(self._by_file)

    def __contains__(self, fingerprint: object) -> bool:
        """Whether a primary key's full fingerprint (11) is that of a certificate here, revoked or not."""
        return any(certificate.fingerprint == fingerprint for certificate in self._by_file.values())

    def verify(self, data: bytes, signature: bytes, now: int, *, max_age_s: int | None = None) -> Verified:
        """Check one detached signature over `data`, at `now` in seconds since 1970.

        `max_age_s` takes the place of the policy's, for an old document that is judged as of its time.

        Raises:
            SignatureRefused: with the reason, for everything that is not a good signature.
        """
        parsed = read_document_signature(signature)
        certificate, fingerprint = self._signer(parsed)
        if parsed.created > now + self.policy.skew_s:  # (4)
            raise SignatureRefused(f"signature is dated {parsed.created - now:,} s in the future")
        if now >= parsed.expires:  # (4)
            raise SignatureRefused("signature is past its own lifetime")
        limit = self.policy.max_age_s if max_age_s is None else max_age_s
        if now - parsed.created > limit:  # (4)
            raise SignatureRefused(f"signature is {now - parsed.created:,} s old; {limit:,} s at most")
        parsed.check(certificate.signers[fingerprint].key, data)
        certificate.judge(fingerprint, parsed.created, now, self.policy.skew_s)
        return Verified(certificate.fingerprint, fingerprint, parsed.created)

    def named_by(self, signature: bytes) -> str:
        """The certificate that a signature names, by its full fingerprint, or nothing: it is not in here.

        Nothing is checked: a forger names whom it likes. For telling people whose signature something claims to be.

        Raises:
            SignatureRefused: it is no signature of a document.
        """
        named = read_document_signature(signature).issuers()
        for certificate in self._by_file.values():
            keys = (certificate.fingerprint, *certificate.signers, *certificate.unusable)
            if not named.isdisjoint(part for key in keys for part in _ids(key)):
                return certificate.fingerprint
        return ""

    def revoked_by(self, packet: bytes) -> str:
        """The certificate, by its full fingerprint, whose primary key revoked itself with this one packet.

        (10) Here it must prove itself, since anybody may have sent it: a designated revoker, or a hash that is not
        allowed, is not enough, and a file of the keyring is where such a one counts.

        Raises:
            SignatureRefused: it is something else, or no key here made it.
        """
        found, nothing_else = key_revocations(packet)
        if len(found) != 1 or not nothing_else:
            raise SignatureRefused("not one key revocation and nothing else")
        for certificate in self._by_file.values():
            if certificate.is_revoked_by(found[0], proven=True):
                return certificate.fingerprint
        raise SignatureRefused("no key of the keyring made this revocation")

    def with_revocations(self, packets: Mapping[str, bytes]) -> Keyring:
        """(10) The same keyring, without the keys that these packets, names to what `revoked_by` took, revoke."""
        revocations = {name: key_revocations(packet)[0] for name, packet in packets.items()}
        certificates = {name: _revoked(each, revocations, revocations) for name, each in self._by_file.items()}
        return Keyring(self.policy, certificates, self.refused)

    def certificates(self, now: int) -> list[Listed]:
        """What is trusted, by file name."""
        return [_listed(name, certificate, now) for name, certificate in sorted(self._by_file.items())]

    def _signer(self, signature: Signature) -> tuple[Certificate, str]:
        """Which key to try: `check` then insists that it is the only one named (5)."""
        issuers = sorted(signature.issuers())
        for issuer in issuers:
            if issuer in self._signers:
                return self._signers[issuer]
        for issuer in issuers:
            if issuer in self._unusable:
                raise SignatureRefused(self._unusable[issuer])
        if not self._by_file:
            reasons = "".join(f"; {name}: {reason}" for name, reason in self.refused[:1])
            raise SignatureRefused(f"the keyring holds no certificate{reasons}")
        raise SignatureRefused(f"key {issuers[0][:40]} is not trusted" if issuers else "signature names no key")


def _ids(fingerprint: str) -> tuple[str, str]:
    return fingerprint, fingerprint[-16:]


def _claimed(certificate: Certificate, trusted: Mapping[str, Certificate]) -> str:
    """(7) What of a certificate belongs to another one already, or nothing. Key ids count, since hints use them."""
    own = {part for key in (certificate.fingerprint, *certificate.signers) for part in _ids(key)}
    for name, other in trusted.items():
        if certificate.fingerprint == other.fingerprint:
            return f"certificate {certificate.fingerprint} is also in {name}"
        taken = own.intersection(part for key in other.signers for part in _ids(key))
        if taken:
            return f"key {max(taken, key=len)} already belongs to certificate {other.fingerprint} in {name}"
    return ""


def _unclaimed(certificate: Certificate, trusted: dict[str, Certificate]) -> Certificate:
    """Raise if it overlaps with what is trusted; of two copies, a revoked one decides for both (10)."""
    conflict = _claimed(certificate, trusted)
    if not conflict:
        return certificate
    for name, other in trusted.items():
        if certificate.revoked and certificate.fingerprint == other.fingerprint:
            trusted[name] = certificate
    raise SignatureRefused(conflict)


def _revoked(certificate: Certificate, revocations: Mapping[str, list[Signature]], good: Container[str]) -> Certificate:
    """(10) The certificate, without signers if a revocation in any file is about it."""
    for name, found in revocations.items():
        if any(certificate.is_revoked_by(revocation, proven=name in good) for revocation in found):
            return certificate if certificate.revoked else certificate.as_revoked(f"by a revocation in {name}")
    return certificate


def _listed(name: str, certificate: Certificate, now: int) -> Listed:
    expires = certificate.primary.expires(now)
    return Listed(
        name=name,
        fingerprint=certificate.fingerprint,
        user_ids=certificate.user_ids,
        kind=certificate.primary.key.kind,
        created=certificate.primary.key.created,
        expires=None if expires == NEVER else expires,
        revoked=certificate.revoked,
        signing_keys=tuple(key for key in certificate.signers if certificate.may_sign(key, now)),
    )
