"""The token in agent.toml: read when the agent has to prove itself, and taken out once it has.

Whoever reads it later could let in others. Where the folder holds broker.toml or console.toml too it stays: who can read that folder
has the keys that made the token, and further agents of this machine may start from it.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Final

from investigator.agent.durable import write_private
from investigator.agent.permissions import refuse_loose
from investigator.config import BROKER_FILE, CONSOLE_FILE, MAX_CONFIG_BYTES, read_file
from investigator.errors import DeploymentError
from investigator.protocol.token import MAX_TOKEN_CHARACTERS, SecretToken, decode_token

if TYPE_CHECKING:
    from pathlib import Path

    from investigator.config import AgentEnrolment

_SECTION: Final = re.compile(r"^[ \t]*\[[ \t]*enrolment[ \t]*\][ \t]*(?:#.*)?$", re.MULTILINE)
_NEXT_SECTION: Final = re.compile(r"^[ \t]*\[", re.MULTILINE)
_LINE: Final = re.compile(r"""^[ \t]*token[ \t]*=[ \t]*("[^"\n]*"|'[^'\n]*')[ \t]*(?:#.*)?\n?""", re.MULTILINE)


class TokenSetting:
    """Where agent.toml has a token, if it has one."""

    def __init__(self, config_file: Path, enrolment: AgentEnrolment) -> None:
        """Nothing is read yet, but what stands in the settings."""
        self._config_file = config_file
        self._word = enrolment.token
        self._file = enrolment.token_file

    def read(self) -> SecretToken | None:
        """The token; None: there is none, or it was dropped.

        Raises:
            BadInput: what stands there is none.
            DeploymentError: others can read it.
        """
        if self._word:
            refuse_loose(self._config_file, private=True)
            return decode_token(self._word)
        if self._file is None or not self._file.exists():
            return None
        refuse_loose(self._file, private=True)
        return decode_token(read_file(self._file, max_bytes=MAX_TOKEN_CHARACTERS).decode("ascii", "replace"))

    def drop(self) -> str:
        """Take it out of the file; what is to be said about that, or nothing."""
        folder = self._config_file.parent
        if (folder / BROKER_FILE).exists() or (folder / CONSOLE_FILE).exists():
            return ""
        place = self._config_file if self._word else self._file
        try:
            if self._word:
                _cut_out(self._config_file)
            elif self._file is not None:
                self._file.unlink(missing_ok=True)
        except (OSError, DeploymentError) as error:
            reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
            return f"enrolment: the token is still in {place}: {reason}; this agent needs it no more: remove it"
        finally:
            self._word, self._file = "", None
        return f"enrolment: the token was taken out of {place}: this agent needs it no more"


def _cut_out(path: Path) -> None:
    """The line of the token, and nothing else.

    Raises:
        DeploymentError: it is written in a way in which more would change.
        OSError: the file cannot be written.
    """
    text = read_file(path, max_bytes=MAX_CONFIG_BYTES).decode("utf-8", "replace")
    section = _SECTION.search(text)
    if section is not None:
        following = _NEXT_SECTION.search(text, section.end())
        end = following.start() if following else len(text)
        changed = text[: section.end()] + _LINE.sub("", text[section.end() : end], count=1) + text[end:]
        if _differ_in_the_token(text, changed):
            mode = path.stat().st_mode & 0o7777
            write_private(path, changed.encode())
            path.chmod(mode)
            return
    raise DeploymentError("its line cannot be changed by itself")


def _differ_in_the_token(text: str, changed: str) -> bool:
    try:
        before, after = tomllib.loads(text), tomllib.loads(changed)
    except tomllib.TOMLDecodeError:
        return False
    settings = {key: value for key, value in before["enrolment"].items() if key != "token"}
    return after == {**before, "enrolment": settings} and after != before
