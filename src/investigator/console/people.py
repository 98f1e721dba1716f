"""People come and go: keyring, ACL, broker credential and the console's own list, changed together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from investigator.broker.operator import remove_person
from investigator.config import BROKER_FILE, load_broker, load_console
from investigator.console.acl_file import without_person, write_acl
from investigator.console.people_file import Person, check_sealing_key, read_people, write_people
from investigator.console.rules import load_rules
from investigator.console.trusting import Trusted, trust_certificate
from investigator.errors import DeploymentError


def add(home: Path, certificate: Path, *, name: str, weight: int, sealto: str, entry: str, now_s: float) -> Trusted:
    """Take a person's certificate into the keyring, their weight into the ACL, and their sealing key into the list.

    Raises:
        Refused: the certificate is not one that an agent would take.
        BadInput: the ACL does not take the person, or `sealto` is no key.
        DeploymentError: the disk.
    """
    if sealto:
        check_sealing_key(sealto, what="--sealto")
    file = load_console(home).people
    people = read_people(file)
    trusted = trust_certificate(home, certificate, name=name, weight=weight, entry=entry, update=False, now_s=now_s)
    known = people.get(name)
    people[name] = Person(fingerprint=trusted.fingerprint, sealto=sealto or (known.sealto if known else None))
    write_people(file, people)
    return trusted


@dataclass(frozen=True, slots=True)
class Removed:
    """What was taken out, for doing the same on the agents."""

    fingerprints: tuple[str, ...]
    files: tuple[Path, ...]
    """Of the keyring."""
    acl: Path
    entries: tuple[str, ...]
    """Of the ACL."""
    credential: bool
    """Whether the person had a broker user of their own, which is gone now."""


def remove(home: Path, name: str, *, now_s: float) -> Removed:
    """Take a person out of everything; what cannot be done changes nothing.

    Raises:
        DeploymentError: nobody is called so.
        BadInput: without them an entry of the ACL could not reach its minimum.
    """
    rules, file = load_rules(home), load_console(home).people
    people = read_people(file)
    fingerprints = {
        person.fingerprint.upper()
        for entry in rules.acl.entries.values()
        for called, person in entry.investigators.items()
        if called == name
    }
    if name in people:
        fingerprints.add(people[name].fingerprint)
    certificates = rules.keyring.certificates(int(now_s))
    keys = {one.fingerprint for one in certificates}
    text, entries = without_person(rules.acl_file, fingerprints=fingerprints, keys=keys)
    credential = (home / BROKER_FILE).exists() and remove_person(load_broker(home).store, name, now_s=int(now_s))
    if not fingerprints and not credential:
        raise DeploymentError(f"nobody is called {name!r} here", hint="`investigator keys list` names people.")
    if entries:
        write_acl(rules.acl_file, text)
    gone = [rules.keyring_folder / one.name for one in certificates if one.fingerprint in fingerprints]
    for path in gone:
        try:
            path.unlink()
        except OSError as error:
            raise DeploymentError(f"{path}: {error.strerror}") from None
    if name in people:
        del people[name]
        write_people(file, people)
    return Removed(tuple(sorted(fingerprints)), tuple(gone), rules.acl_file, tuple(entries), credential)
