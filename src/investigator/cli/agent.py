"""`investigator agent`: the agent of this host, in the foreground; and how the one that runs here fares."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from investigator.cli.plain import Option, PlainCommand
from investigator.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Sequence

_HOME: Final = Option("home", "DIR", "The deployment's folder, instead of $INVESTIGATOR_HOME.")
_NAME: Final = Option("name", "N", "This agent's name, instead of the host's.")
_STATE: Final = Option("state", "DIR", "Where its key and ledger are; default: in the deployment.")
STATUS: Final = PlainCommand(
    "agent status",
    "Ask the agent that runs on this host how it fares: no broker, no key; for the user whose agent it is, and root.",
    (
        _HOME,
        _NAME,
        _STATE,
        Option("prometheus", "", "As Prometheus' text format."),
        Option(
            "out", "FILE", "Replace this file with it at once, as node_exporter's textfile reader needs.", short="o"
        ),
        Option("json", "", "As JSON."),
    ),
)
AGENT: Final = PlainCommand(
    "agent",
    "Run this host's agent until Ctrl-C or SIGTERM.",
    (
        _HOME,
        _NAME,
        Option("tag", "K=V", "A tag beside those of agent.toml; may be given again."),
        _STATE,
        Option("verbose", "", "Say more of what happens.", short="v"),
    ),
    (("status", "Ask the agent that runs on this host how it fares."),),
)


def agent(words: Sequence[str]) -> int:
    """`investigator agent WORDS`. Returns the exit code.

    Raises:
        BadInput: words that it does not take.
        DeploymentError: configuration, keyring, ACL or state is missing or not to be trusted.
    """
    if words[:1] == ["status"]:
        return status(words[1:])
    pairs = AGENT.read(words)
    given = dict(pairs)
    if "help" in given:
        print(AGENT.help(), end="")
        return 0
    tags = _tags([value for name, value in pairs if name == "tag"])
    import asyncio

    from investigator.agent.main import serve

    name, verbose = given.get("name", ""), "verbose" in given
    asyncio.run(serve(_home(given), name=name, tags=tags, state=_path(given, "state"), verbose=verbose))
    return 0


def status(words: Sequence[str]) -> int:
    """`investigator agent status WORDS`. Returns the exit code.

    Raises:
        BadInput: words that it does not take.
        DeploymentError: no agent answers there, or the file cannot be written.
    """
    given = dict(STATUS.read(words))
    if "help" in given:
        print(STATUS.help(), end="")
        return 0
    if "prometheus" in given and "json" in given:
        raise BadInput("--prometheus and --json: one of the two")
    from investigator.agent.status_page import read_report, report_page
    from investigator.agent.status_socket import ask_agent
    from investigator.cli.files import write_out
    from investigator.modules.status.report import report_lines
    from investigator.printable import printable

    raw = ask_agent(_path(given, "state") or _state_folder(_home(given), given.get("name", "")))
    report = read_report(raw)
    if "prometheus" in given:
        text = report_page(report)
    elif "json" in given:
        text = raw.decode() + "\n"
    else:
        text = "".join(f"{printable(line)}\n" for line in report_lines(report))
    write_out(text, _path(given, "out"))
    return 0


def _home(given: dict[str, str]) -> Path:
    from investigator.config import default_home

    return Path(given["home"]).absolute() if "home" in given else default_home()


def _path(given: dict[str, str], name: str) -> Path | None:
    return Path(given[name]) if name in given else None


def _state_folder(home: Path, name: str) -> Path:
    """The agent's of that name, by default of the name that it would have if it were started so."""
    from investigator.agent.facts import host_name
    from investigator.agent.main import state_folder
    from investigator.config import load_agent

    return state_folder(home, name or load_agent(home).name or host_name())


def _tags(pairs: list[str]) -> dict[str, str]:
    tags = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise BadInput(f"--tag {pair!r}: not of the form key=value")
        tags[key] = value
    return tags
