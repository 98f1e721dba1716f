"""console.toml as a file of its owner: one line of it is changed, and everything else stays as it was written."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Final

from investigator.config import MAX_CONFIG_BYTES, read_file
from investigator.console.files import replace
from investigator.errors import BadInput

_SECTION: Final = re.compile(r"^[ \t]*\[[ \t]*signer[ \t]*\][ \t]*(?:#.*)?$", re.MULTILINE)
_NEXT_SECTION: Final = re.compile(r"^[ \t]*\[", re.MULTILINE)
_SETTING: Final = re.compile(r"^[ \t]*(?:key|gpg)[ \t]*=.*\n?", re.MULTILINE)


def signer_line(*, key: Path | None = None, gpg: str | None = None) -> str:
    """The line of [signer] that names a key."""
    return f'gpg = "{gpg}"' if gpg is not None else f'key = "{(key or Path()).as_posix()}"'


def set_signer(path: Path, line: str) -> None:
    """Make `line` the one that names the key in [signer].

    Raises:
        DeploymentError: the file cannot be read or written.
        BadInput: it is written in a way in which more than that line would change; the hint says what to write.
    """
    text = read_file(path, max_bytes=MAX_CONFIG_BYTES).decode("utf-8", "replace")
    changed = _with_line(text, line)
    try:
        before, after = tomllib.loads(text), tomllib.loads(changed)
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{path}: {error}") from None
    wanted: dict[str, Any] = {
        key: value for key, value in before.get("signer", {}).items() if key not in ("key", "gpg")
    }
    if after != {**before, "signer": {**wanted, **tomllib.loads(line)}}:
        raise BadInput(f"{path}: its [signer] is not one that can be changed by itself", hint=f"Write there: {line}")
    replace(path, changed.encode())


def _with_line(text: str, line: str) -> str:
    section = _SECTION.search(text)
    if section is None:
        return f"{text.rstrip()}\n\n[signer]\n{line}\n"
    start = section.end()
    following = _NEXT_SECTION.search(text, start)
    end = following.start() if following else len(text)
    rest = _SETTING.sub("", text[start:end].removeprefix("\n"))
    return f"{text[:start]}\n{line}\n{rest}{text[end:]}"
