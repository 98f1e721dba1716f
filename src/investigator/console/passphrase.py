"""Where a passphrase comes from: a terminal, a descriptor, or MIG's environment variable; never an argument."""

from __future__ import annotations

import getpass
import os
import sys
from dataclasses import dataclass
from typing import Final

from investigator.errors import BadInput, DeploymentError

FD_VARIABLE: Final = "INVESTIGATOR_PASSPHRASE_FD"
"""The number of an open descriptor, of which one line is read."""
MIG_VARIABLE: Final = "MIGPGPPASSPHRASE"
MAX_BYTES: Final = 4096


@dataclass(slots=True)
class Passphrase:
    """Asked for at most once, and only when a key turns out to need it."""

    what: str
    _known: str | None = None

    def __call__(self) -> str:
        """The passphrase.

        Raises:
            DeploymentError: there is nobody to ask.
        """
        if self._known is None:
            self._known = _given() or self._ask()
        return self._known

    def _ask(self) -> str:
        if not sys.stdin.isatty():
            raise DeploymentError(
                f"{self.what} is protected by a passphrase, and there is no terminal to ask on",
                hint=f"{FD_VARIABLE} names a descriptor to read it from.",
            )
        return getpass.getpass(f"Passphrase of {self.what}: ")


def new_passphrase(what: str) -> str:
    """A passphrase for a new key: twice on a terminal, else the first line of standard input.

    Raises:
        BadInput: it is empty, or the two differ.
    """
    given = _given()
    if given is None and sys.stdin.isatty():
        given = getpass.getpass(f"New passphrase of {what}: ")
        if getpass.getpass("Once more: ") != given:
            raise BadInput("the two passphrases differ")
    elif given is None:
        given = sys.stdin.readline(MAX_BYTES).rstrip("\r\n")
    if not given:
        raise BadInput("an empty passphrase protects nothing")
    return given


def _given() -> str | None:
    number = os.environ.get(FD_VARIABLE)
    if number is not None:
        try:
            line, _, _ = os.read(int(number), MAX_BYTES).partition(b"\n")
            return line.rstrip(b"\r").decode()
        except (ValueError, OSError) as error:
            raise BadInput(f"{FD_VARIABLE}={number}: {error}") from None
    return os.environ.get(MIG_VARIABLE)
