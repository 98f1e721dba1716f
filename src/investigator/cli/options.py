"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Home = Annotated[
    Path | None, typer.Option("--home", metavar="DIR", help="The deployment's folder, instead of $INVESTIGATOR_HOME.")
]

PassphraseCommand = Annotated[
    str,
    typer.Option(
        "--passphrase-command",
        metavar="WORDS",
        help="A command whose first line is the passphrase, as `pass show NAME`; no shell reads it.",
    ),
]


class Output(StrEnum):
    """How results are written."""

    TEXT = "text"
    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"


def home_folder(home: Path | None) -> Path:
    """The deployment that is meant."""
    from investigator.config import default_home

    return home.absolute() if home is not None else default_home()


def split_command(words: str) -> tuple[str, ...]:
    """A command as it was typed, as program and arguments.

    Raises:
        BadInput: a quote is not closed.
    """
    import shlex

    from investigator.errors import BadInput

    try:
        return tuple(shlex.split(words))
    except ValueError as error:
        raise BadInput(f"--passphrase-command {words!r}: {error}") from None
