"""`investigator agent`: the agent of this host, in the foreground.

Its words are read without typer, which would be 3 MB in every agent for life, and is not in the file that is agent only.
"""

from __future__ import annotations

import getopt
from pathlib import Path
from typing import TYPE_CHECKING, Final

from investigator.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Sequence

OPTIONS: Final = (
    ("home", "DIR", "The deployment's folder, instead of $INVESTIGATOR_HOME."),
    ("name", "N", "This agent's name, instead of the host's."),
    ("tag", "K=V", "A tag beside those of agent.toml; may be given again."),
    ("state", "DIR", "Where its key and ledger are; default: in the deployment."),
    ("verbose", "", "Say more of what happens."),
    ("help", "", "Show this message and exit."),
)
"""Name, value (none for a switch), help."""
_SHORT: Final = {"-v": "--verbose"}


def agent(words: Sequence[str]) -> int:
    """Run this host's agent until Ctrl-C or SIGTERM. Returns the exit code.

    Raises:
        BadInput: words that it does not take.
        DeploymentError: configuration, keyring, ACL or state is missing or not to be trusted.
    """
    given, tags = parse(words)
    if "help" in given:
        print(help_text(), end="")
        return 0
    import asyncio

    from investigator.agent.main import serve
    from investigator.config import default_home

    home, state = given.get("home"), given.get("state")
    asyncio.run(
        serve(
            default_home() if home is None else Path(home).absolute(),
            name=given.get("name", ""),
            tags=tags,
            state=None if state is None else Path(state),
            verbose="verbose" in given,
        )
    )
    return 0


def parse(words: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """The options that were given, the last of each counting, and the tags.

    Raises:
        BadInput: an option that there is not, one without its value, or a word that is none.
    """
    try:
        pairs, rest = getopt.gnu_getopt(list(words), "v", [name + "=" * bool(value) for name, value, _ in OPTIONS])
    except getopt.GetoptError as error:
        raise _usage(error) from None
    if rest:
        raise BadInput(f"got unexpected extra argument ({rest[0]})", hint=_HINT)
    given: dict[str, str] = {}
    tags: dict[str, str] = {}
    for option, value in pairs:
        name = _SHORT.get(option, option).removeprefix("--")
        if name == "tag":
            key, equals, text = value.partition("=")
            if not equals or not key:
                raise BadInput(f"--tag {value!r}: not of the form key=value")
            tags[key] = text
        else:
            given[name] = value
    return given, tags


def help_text() -> str:
    """In the form of the other commands' help."""
    shown = [("-v, " if name == "verbose" else "") + f"--{name}" + f" {value}".rstrip() for name, value, _ in OPTIONS]
    lines = [f"  {option:<15}{summary}" for option, (_, _, summary) in zip(shown, OPTIONS, strict=True)]
    first = (agent.__doc__ or "").partition(" Returns")[0]
    return "\n".join(["Usage: investigator agent [OPTIONS]", "", f"  {first}", "", "Options:", *lines, ""])


_HINT: Final = "`investigator agent --help` says what there is."


def _usage(error: getopt.GetoptError) -> BadInput:
    """Getopt's own error as the other commands say it."""
    dashed = ("-" if len(error.opt) == 1 else "--") + error.opt
    if "requires argument" in error.msg:
        return BadInput(f"option '{dashed}' requires an argument", hint=_HINT)
    if "must not have" in error.msg:
        return BadInput(f"option '{dashed}' does not take a value", hint=_HINT)
    return BadInput(f"no such option: {dashed}", hint=_HINT)
