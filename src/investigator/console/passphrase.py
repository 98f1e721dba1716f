"""Where a passphrase comes from: a descriptor, a command, MIG's environment variable or a terminal; never an argument.

The first of these that is given is asked, and if it fails nobody else is: a passphrase prompt that appears where a command
was configured would be somebody else's. What was read lives as long as the command that needed it, and nowhere else.
"""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
from collections.abc import Sequence
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
    command: Sequence[str] = ()
    """A program and its arguments; the first line that it prints is the passphrase."""
    may_prompt: bool = True
    """Whether a person is asked where nothing gives it; a program that uses the library has its terminal for itself."""
    _known: str | None = None

    def __call__(self) -> str:
        """The passphrase.

        Raises:
            DeploymentError: there is nobody to ask, or the command failed.
            BadInput: the descriptor gives none.
        """
        if self._known is None:
            self._known = _given(self.command) or self._ask()
        return self._known

    @property
    def is_known(self) -> bool:
        """Whether it was given already, so that using it asks nobody."""
        return self._known is not None

    def _ask(self) -> str:
        if not self.may_prompt or not sys.stdin.isatty():
            why = "there is no terminal to ask on" if self.may_prompt else "nobody may be asked for it"
            raise DeploymentError(
                f"{self.what} is protected by a passphrase, and {why}",
                hint=f"{FD_VARIABLE} names a descriptor to read it from; `passphrase_command` in console.toml a command.",
            )
        return getpass.getpass(f"Passphrase of {self.what}: ")


def new_passphrase(what: str, command: Sequence[str] = ()) -> str:
    """A passphrase for a new key: as given, else twice on a terminal, else the first line of standard input.

    Raises:
        DeploymentError: the command failed.
        BadInput: it is empty, or the two differ.
    """
    given = _given(command)
    if given is None and sys.stdin.isatty():
        given = getpass.getpass(f"New passphrase of {what}: ")
        if getpass.getpass("Once more: ") != given:
            raise BadInput("the two passphrases differ")
    elif given is None:
        given = sys.stdin.readline(MAX_BYTES).rstrip("\r\n")
    if not given:
        raise BadInput("an empty passphrase protects nothing")
    return given


def _given(command: Sequence[str]) -> str | None:
    number = os.environ.get(FD_VARIABLE)
    if number is not None:
        try:
            line, _, _ = os.read(int(number), MAX_BYTES).partition(b"\n")
            return line.rstrip(b"\r").decode()
        except (ValueError, OSError) as error:
            raise BadInput(f"{FD_VARIABLE}={number}: {error}") from None
    return _said_by(command) if command else os.environ.get(MIG_VARIABLE)


def _said_by(command: Sequence[str]) -> str:
    """The first line that a command prints; it may ask on the terminal itself, so its stdin and stderr are ours."""
    try:
        done = subprocess.run(list(command), stdout=subprocess.PIPE, check=False)  # noqa: S603 - the user's own, no shell
    except OSError as error:
        raise DeploymentError(f"passphrase command {command[0]}: {error.strerror}") from None
    if done.returncode != 0:
        how = f"exit code {done.returncode}" if done.returncode > 0 else f"signal {-done.returncode}"
        raise DeploymentError(f"passphrase command {command[0]}: it ended with {how}")
    line = done.stdout.partition(b"\n")[0].rstrip(b"\r")
    if not line or len(line) > MAX_BYTES:
        raise DeploymentError(f"passphrase command {command[0]}: it printed no passphrase")
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise DeploymentError(f"passphrase command {command[0]}: its first line is no text") from None
