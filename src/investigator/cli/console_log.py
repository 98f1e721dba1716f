"""The console's log, where one is wanted: `--log FILE`, `$INVESTIGATOR_LOG`, or `[log] file` of console.toml, in this order."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from investigator.config import ConsoleConfig

LOG_VARIABLE: Final = "INVESTIGATOR_LOG"


@contextlib.contextmanager
def console_log(config: ConsoleConfig, file: Path | None = None) -> Iterator[None]:
    """Log while the context lasts; standard error tells a person no more than without.

    Raises:
        DeploymentError: the file cannot be written.
    """
    named = os.environ.get(LOG_VARIABLE)
    chosen = file or (Path(named).expanduser() if named else config.log.file)
    if chosen is None:
        yield
        return
    import msgspec

    from investigator.logs import Logs

    with Logs("console", msgspec.structs.replace(config.log, file=chosen.absolute()), bare=True):
        yield
