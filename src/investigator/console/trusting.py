"""Changing whom this deployment trusts: certificates into the keyring, weights into the ACL, revocations into both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from investigator.console.acl_file import acl_lines, with_person, write_acl
from investigator.console.files import read_input, replace, write_new
from investigator.console.own_keys import usable_certificate
from investigator.console.rules import rule_files
from investigator.errors import BadInput, DeploymentError
from investigator.pgp import Listed
from investigator.pgp.folder import KeyringFolder
from investigator.pgp.framing import armored
from investigator.pgp.policy import MAX_CERTIFICATE_BYTES
from investigator.protocol.acl import acl_format


@dataclass(frozen=True, slots=True)
class Trusted:
    """What was done."""

    fingerprint: str
    certificate: Path
    """Its file in the keyring."""
    lines: tuple[str, ...]
    """For people."""


def trust_certificate(
    home: Path, file: Path, *, name: str, weight: int | None, entry: str, update: bool, now_s: float
) -> Trusted:
    """Put a certificate into the keyring, and with a weight its person into the ACL.

    The ACL is worked out first: if it cannot be, nothing changes.

    Raises:
        BadInput: the file cannot be read, or the ACL does not take the person.
        Refused: it is no certificate that an agent would take.
        DeploymentError: another certificate of the same key is there and `update` is not set; or the disk.
    """
    content = read_input(file, max_bytes=MAX_CERTIFICATE_BYTES)
    fingerprint, user_ids, text = usable_certificate(content, str(file), now_s=now_s)
    acl, folder = rule_files(home)
    certificates = KeyringFolder(folder).read().certificates(int(now_s))
    keys = {one.fingerprint for one in certificates} | {fingerprint}
    changed = None
    if weight is not None:
        changed = with_person(acl, name=name, fingerprint=fingerprint, weight=weight, entry=entry, keys=keys)
    place, said = _into_keyring(folder, certificates, fingerprint, text, update=update)
    lines = [f"{said}: {', '.join(user_ids) or 'no name'}"]
    if changed is not None:
        write_acl(acl, changed)
        lines.append(f"{acl}: {entry}: {name} has weight {weight}")
    else:
        lines.append(f"to give it a weight, in {acl} under {entry}'s investigators:")
        lines += acl_lines(name or "NAME", fingerprint, 1, form=acl_format(acl.name), entry=entry).splitlines()
    return Trusted(fingerprint, place, tuple(lines))


def _into_keyring(folder: Path, there: list[Listed], fingerprint: str, text: str, *, update: bool) -> tuple[Path, str]:
    """The certificate's file, and what was done with it."""
    old = next((one for one in there if one.fingerprint == fingerprint), None)
    place = folder / (f"{fingerprint}.asc" if old is None else old.name)
    if old is None:
        write_new(place, text.encode())
        return place, f"trusted {fingerprint} in {place}"
    if old.revoked:
        raise BadInput(
            f"certificate {fingerprint} is revoked here {old.revoked}", hint=f"A revocation is final: {place}."
        )
    if read_input(place, max_bytes=MAX_CERTIFICATE_BYTES) == text.encode():
        return place, f"{fingerprint} is trusted already in {place}"
    if not update:
        raise DeploymentError(
            f"{place}: holds another copy of certificate {fingerprint}", hint="--update puts this one in its place."
        )
    replace(place, text.encode())
    return place, f"updated {fingerprint} in {place}"


def keep_revocation(folder: Path, fingerprint: str, packet: bytes) -> Path:
    """Put a revocation into the keyring, beside its certificate; one that is there already stays."""
    path = folder / f"{fingerprint}.rev"
    if not path.exists():
        write_new(path, armored("PUBLIC KEY BLOCK", packet).encode())
    return path
