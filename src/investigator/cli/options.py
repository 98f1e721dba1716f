"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Home = Annotated[
    Path | None, typer.Option("--home", metavar="DIR", help="The deployment's folder, instead of $INVESTIGATOR_HOME.")
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
