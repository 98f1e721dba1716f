"""Bringing a second investigator in: one private file with all that their laptop needs, but no key that signs.

Whoever gets hold of it can talk to the broker until the person is removed, and can make no agent do anything.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
import orjson

from investigator.broker.certificates import CA, CLIENT, CLIENT_KEY, make_client
from investigator.broker.certificates import MAX_CERTIFICATE_BYTES as MAX_CERTIFICATE_FILE_BYTES
from investigator.broker.credentials import Credentials
from investigator.broker.operator import add_person, check_person
from investigator.broker.tls import ClientTls
from investigator.config import CONSOLE_FILE, load_broker, load_console, read_file
from investigator.console.deployment import (
    BROKER_FOLDER,
    KEYRING,
    PEOPLE,
    OwnKeys,
    console_toml,
    filling,
    make_own_keys,
    write_private,
)
from investigator.console.files import PRIVATE, read_input, write_new
from investigator.console.people_file import Person, encode_people, read_people
from investigator.console.rules import load_rules
from investigator.errors import BadInput, DeploymentError
from investigator.pgp import Keyring
from investigator.pgp.folder import SUFFIXES
from investigator.pgp.policy import MAX_CERTIFICATE_BYTES
from investigator.protocol.acl import MAX_ACL_BYTES
from investigator.protocol.codec import convert, strict_loads

MAX_INVITATION_BYTES: Final = 64 << 20
_FILE_NAME: Final = r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$"
FileName = Annotated[str, msgspec.Meta(pattern=_FILE_NAME)]


class Invitation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file, as JSON."""

    type: Literal["invitation"]
    v: Literal[1] = 1
    name: str
    url: str
    credentials: str
    """The broker user's, as the text of a `.creds` file: what makes this file private."""
    keyring: dict[FileName, str]
    acl_name: Literal["acl.json", "acl.toml"]
    acl: str
    people: dict[str, Person]
    targets: dict[str, str]
    ca: str = ""
    """The authority of the broker's certificate; empty: it speaks plain text, on its own machine."""
    certificate: str = ""
    """With `key`, for a broker that asks for one."""
    key: str = ""
    enrolment: Literal["token", "open", "approve"] = "token"
    """Whom the inviting console asks and believes."""


@dataclass(frozen=True, slots=True)
class Joined:
    """What was made on the new laptop."""

    name: str
    own: OwnKeys
    trusted: tuple[str, ...]
    """The fingerprints that came with the invitation: for comparing them with who invited."""


def invite(home: Path, name: str, file: Path, *, url: str) -> str:
    """Make a broker user and the file for a person; returns the broker's address that stands in it.

    Raises:
        DeploymentError: there is such a user, or the embedded broker of this deployment is not here.
        BadInput: the rules of this deployment are none.
    """
    check_person(name)
    if file.exists():
        raise DeploymentError(f"{file}: is there already; nothing was written")
    console, rules = load_console(home), load_rules(home)
    keyring = {
        path.name: read_file(path, max_bytes=MAX_CERTIFICATE_BYTES).decode("ascii", "replace")
        for path in sorted(rules.keyring_folder.iterdir())
        if path.name.endswith(SUFFIXES) and not path.name.startswith(".")
    }
    broker = load_broker(home)
    certificate, key = b"", b""
    if broker.tls is not None and broker.tls.verify:
        certificate, key = make_client(broker.store, name, now_s=time.time())
    ca = read_file(console.broker.ca, max_bytes=MAX_CERTIFICATE_FILE_BYTES) if console.broker.ca is not None else b""
    credentials = add_person(broker.store, name, now_s=int(time.time()))
    invitation = Invitation(
        type="invitation",
        name=name,
        url=url or console.broker.url,
        credentials=credentials.text,
        keyring=keyring,
        acl_name="acl.toml" if rules.acl_file.suffix == ".toml" else "acl.json",
        acl=read_file(rules.acl_file, max_bytes=MAX_ACL_BYTES).decode(),
        people=read_people(console.people),
        targets=console.targets,
        ca=ca.decode("ascii", "replace"),
        certificate=certificate.decode(),
        key=key.decode(),
        enrolment=console.enrolment,
    )
    write_new(file, orjson.dumps(msgspec.to_builtins(invitation), option=orjson.OPT_INDENT_2) + b"\n", mode=PRIVATE)
    return invitation.url


def read_invitation(file: Path) -> Invitation:
    """Read the file that `invite` wrote.

    Raises:
        BadInput: it is none, or it lies open to others.
    """
    raw = read_input(file, max_bytes=MAX_INVITATION_BYTES)
    if os.name == "posix" and file.stat().st_mode & 0o077:
        raise BadInput(f"{file}: others can read it, and a credential is in it", hint=f"chmod go= {file}")
    document = strict_loads(raw, what=str(file), max_bytes=MAX_INVITATION_BYTES)
    invitation = convert(document, Invitation, what=str(file))
    check_person(invitation.name)
    if not all(name.endswith(SUFFIXES) for name in invitation.keyring):
        raise BadInput(f"{file}: keyring: a file that is no key file")
    if bool(invitation.certificate) != bool(invitation.key) or (invitation.certificate and not invitation.ca):
        raise BadInput(f"{file}: ca, certificate and key: one comes without the others")
    return invitation


def join(
    home: Path, invitation: Invitation, *, email: str, passphrase: str | None, passphrase_command: Sequence[str] = ()
) -> Joined:
    """Make this laptop's deployment, with keys of its own; for `passphrase_command` see `create_deployment`.

    Raises:
        DeploymentError: there is one already, or the disk does not take it.
        BadInput: the keyring that came holds a file that is no certificate.
    """
    certificates = {name: text.encode() for name, text in invitation.keyring.items()}
    keyring = Keyring.load(certificates)
    for name, reason in keyring.refused:
        raise BadInput(f"invitation: keyring: {name}: {reason}")
    name = invitation.name
    credentials = Credentials.parse(invitation.credentials, what="invitation: credentials")
    with filling(home) as folder:
        own = make_own_keys(folder, name, email, passphrase)
        for file, content in certificates.items():
            write_private(folder / KEYRING / file, content)
        write_private(folder / KEYRING / f"{own.fingerprint}.asc", own.public.encode())
        write_private(folder / invitation.acl_name, invitation.acl.encode())
        people = {**invitation.people, name: Person(fingerprint=own.fingerprint, sealto=own.sealto)}
        write_private(folder / PEOPLE, encode_people(people))
        place = BROKER_FOLDER / f"{name}.creds"
        write_private(folder / place, credentials.text.encode())
        toml = console_toml(
            url=invitation.url,
            credentials_file=str(place),
            tls=_write_certificates(folder, invitation),
            enrolment=invitation.enrolment,
            targets=invitation.targets,
            passphrase_command=passphrase_command,
        )
        write_private(folder / CONSOLE_FILE, toml)
    return Joined(name, own, tuple(one.fingerprint for one in keyring.certificates(0)))


def _write_certificates(folder: Path, invitation: Invitation) -> dict[str, str]:
    """The files that came for TLS, and what the table [broker] says of them."""
    texts = {"ca": invitation.ca, "certificate": invitation.certificate, "key": invitation.key}
    places = {"ca": CA, "certificate": CLIENT, "key": CLIENT_KEY}
    named = {}
    for what, text in texts.items():
        if text:
            place = BROKER_FOLDER / places[what]
            write_private(folder / place, text.encode())
            named[what] = str(place)
    if named:
        ClientTls(**{what: folder / place for what, place in named.items()}).context()  # refuses what is none
    return named
