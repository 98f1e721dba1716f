"""`investigator audit`: what agents decided, and whether that was tampered with."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from investigator.cli.options import Home, Output, home_folder
from investigator.errors import BadInput, BrokerError, DeploymentError, Refused
from investigator.printable import printable

if TYPE_CHECKING:
    from investigator.console.heads import ChainHead
    from investigator.protocol.audit import Line, Verified

app = typer.Typer(name="audit", help="What agents decided, and whether that was tampered with.", no_args_is_help=True)

Files = Annotated[
    list[Path] | None, typer.Argument(metavar="[FILE]…", help="Audit files, instead of an agent's state folder.")
]
State = Annotated[
    Path | None, typer.Option(metavar="DIR", help="An agent's state folder; default: those in the deployment.")
]


@app.callback()
def audit() -> None:
    """What agents decided, and whether that was tampered with."""


@app.command()
def verify(
    *,
    files: Files = None,
    state: State = None,
    agent: Annotated[str | None, typer.Option(metavar="ID", help="The audit must be this agent's.")] = None,
    against: Annotated[
        Path | None,
        typer.Option(metavar="HEADS.json", help="What a console has: its `investigator audit heads --output json`."),
    ] = None,
    start: Annotated[
        int, typer.Option("--from", metavar="N", min=1, help="Pass over the lines before line N, known to be broken.")
    ] = 1,
    home: Home = None,
) -> None:
    """Check the chain of an agent's audit on this host, and compare it with what the console heard of it.

    Leaves with 3, naming the first line that is not as it was written. Root can write a whole chain anew: only the comparison shows that.
    Without --against it is with the console in this deployment, if there is one.
    """
    folders: list[Path | None] = [None] if files else [*_state_folders(state, home_folder(home))]
    heads, source = _heads(against, home_folder(home))
    problems: list[Refused] = []
    for folder in folders:
        try:
            print(printable(_verified(folder, files or [], heads, source=source, agent=agent, start=start)))
        except Refused as error:
            problems.append(error)
    for problem in problems[:-1]:
        print(f"investigator: {printable(str(problem))}", file=sys.stderr)
    if problems:
        raise problems[-1]


@app.command()
def show(
    *,
    files: Files = None,
    state: State = None,
    action: Annotated[
        str, typer.Option(metavar="ID", help="Only lines about this action; the id's start is enough.")
    ] = "",
    since: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Only lines since then: 2h, or 2026-11-24T03:00:00Z.")
    ] = None,
    output: Annotated[Output, typer.Option(help="How to write them: text, json or ndjson.")] = Output.TEXT,
    home: Home = None,
) -> None:
    """Print the decisions of an agent on this host, oldest first; whether they were tampered with is for `verify`."""
    import orjson

    from investigator.agent.audit_reading import AuditLines
    from investigator.console.render_parts import json_text
    from investigator.protocol.audit import read_line

    if output is Output.CSV:
        raise BadInput("--output csv: an audit is shown as text, json or ndjson")
    earliest = None if since is None else _moment(since)
    wanted = []
    for folder in [None] if files else _state_folders(state, home_folder(home)):
        with AuditLines(folder, files or []) as lines:
            for where, raw in lines:
                line = read_line(raw)
                if line is None:
                    print(f"investigator: {printable(where)}: this is no line of an audit", file=sys.stderr)
                elif line.action.startswith(action) and _is_since(line, earliest):
                    wanted.append((line, raw))
    if output is Output.JSON:
        print(json_text({"lines": [orjson.loads(raw) for _, raw in wanted]}, encoding=sys.stdout.encoding))
        return
    for line, raw in wanted:
        print(_text(line) if output is Output.TEXT else json_text(orjson.loads(raw), encoding=sys.stdout.encoding))


@app.command()
def heads(
    agent: Annotated[str | None, typer.Option(metavar="AGENT", help="Only this agent's, by id or name.")] = None,
    output: Annotated[Output, typer.Option(help="How to write them: text, json or ndjson.")] = Output.TEXT,
    home: Home = None,
) -> None:
    """List what this console heard of the hosts' audits, for `investigator audit verify --against` on a host."""
    import asyncio

    from investigator.console.render_parts import json_text
    from investigator.console.table import aligned

    if output is Output.CSV:
        raise BadInput("--output csv: heads are listed as text, json or ndjson")
    known, names = asyncio.run(_known_heads(home_folder(home), agent))
    documents = [head.document(names.get(head.agent, "")) for head in known]
    if output is Output.JSON:
        print(json_text({"heads": documents}, encoding=sys.stdout.encoding))
    elif output is Output.NDJSON:
        for document in documents:
            print(json_text(document, encoding=sys.stdout.encoding))
    else:
        rows = [(head.agent, names.get(head.agent, ""), str(head.count), head.head, head.seen) for head in known]
        print(*aligned(rows, (("AGENT", 26), ("NAME", 40), ("LINES", 16), ("HEAD", 24), ("SEEN", 20))), sep="\n")


@app.command()
def forget(
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="By id, or by name.")],
    home: Home = None,
) -> None:
    """Forget what this console heard of an agent's audit, where it began anew for a known reason: a host that was restored."""
    import asyncio

    known = asyncio.run(_forget(home_folder(home), agent))
    print(f"{known} heads forgotten")


def _state_folders(state: Path | None, home: Path) -> list[Path]:
    """The one that was named, or those of the deployment's agents."""
    if state is not None:
        return [state]
    found = sorted(path for path in (home / "agents").glob("*") if path.is_dir())
    if not found:
        raise DeploymentError(
            f"{home}: no agent ran in this deployment", hint="--state says where an agent's state is."
        )
    return found


def _verified(
    folder: Path | None, files: list[Path], heads: list[ChainHead], *, source: str, agent: str | None, start: int
) -> str:
    """What to say of an audit that holds."""
    from investigator.agent.audit_reading import AuditLines, own_head, verify_audit
    from investigator.protocol.audit import ChainBroken, read_line

    own = None if folder is None else own_head(folder)
    with AuditLines(folder, files) as lines:
        claimed = next((line.agent for _, raw in lines if (line := read_line(raw)) is not None), "")
        whose = agent or _owner(folder) or claimed
        known = [head.witness() for head in heads if head.agent == whose]
        try:
            chain = verify_audit(lines, known, start=start, agent=whose, own=own)
        except ChainBroken as error:
            raise ChainBroken(f"{folder or 'the audit'}: {error}", hint=error.hint) from None
    for note in [*chain.notes, *(["the last line is not complete (yet)"] if lines.torn else [])]:
        print(f"note: {printable(note)}", file=sys.stderr)
    return _sentence(chain, source)


def _sentence(chain: Verified, source: str) -> str:
    if not chain.first:
        return "there is no line yet"
    kept = f"lines {chain.first:,} to {chain.last.count:,} of agent {chain.agent}: the chain holds"
    if chain.compared or chain.older:
        older = f", and {chain.older:,} more are of lines that are not kept any more" if chain.older else ""
        return f"{kept}; {chain.compared:,} heads that {source} has are in it{older}"
    if source:
        return f"{kept}; {source} never heard of it, so it was compared with nothing"
    return f"{kept}; it was compared with nothing: --against takes what a console has"


def _owner(folder: Path | None) -> str:
    """The agent whose key is in the folder; nothing where it cannot be read."""
    import base64

    import orjson

    from investigator.agent.identity_file import KEY_FILE
    from investigator.protocol.identity import Identity

    if folder is None:
        return ""
    try:
        document = orjson.loads((folder / KEY_FILE).read_bytes())
        return Identity(base64.b64decode(document["ed25519"], validate=True)).id
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _heads(against: Path | None, home: Path) -> tuple[list[ChainHead], str]:
    """Every head that is known here, and who knows it, for messages."""
    import asyncio

    from investigator.config import CONSOLE_FILE, load_console, read_file
    from investigator.console.heads import MAX_FILE_BYTES, read_heads
    from investigator.console.store import Store

    if against is not None:
        return read_heads(read_file(against, max_bytes=MAX_FILE_BYTES), what=str(against)), str(against)
    if not (home / CONSOLE_FILE).exists():
        return [], ""

    async def read() -> list[ChainHead]:
        async with Store(load_console(home).store) as store:
            return await store.heads()

    return asyncio.run(read()), "the console"


async def _known_heads(home: Path, agent: str | None) -> tuple[list[ChainHead], dict[str, str]]:
    """What the store has after it has heard what the broker knows now, and the agents' names."""
    from investigator.config import load_console
    from investigator.console.fleet import known_inventory
    from investigator.console.heads import keep_heads, named
    from investigator.console.link import console_link
    from investigator.console.store import Store

    config = load_console(home)
    names: dict[str, str] = {}
    async with Store(config.store) as store:
        try:
            async with console_link(config) as broker:
                inventory = await known_inventory(broker, store)
            names = {host.id: host.name for host in inventory.hosts.values()}
            for line in [*inventory.dropped, *await keep_heads(store, inventory)]:
                print(f"investigator: {printable(line)}", file=sys.stderr)
        except BrokerError as error:
            print(f"investigator: {error}; this is what was heard before", file=sys.stderr)
        return await store.heads(None if agent is None else named(list(names.items()), agent)), names


async def _forget(home: Path, agent: str) -> int:
    from investigator.config import load_console
    from investigator.console.heads import named
    from investigator.console.store import Store

    known, names = await _known_heads(home, None)
    whose = named(list(names.items()), agent)
    if not any(head.agent == whose for head in known):
        raise BadInput(f"no head of agent {agent!r} is known here")
    async with Store(load_console(home).store) as store:
        return await store.forget_heads(whose)


def _moment(text: str) -> datetime:
    """A time, or how long ago."""
    from investigator.modules.durations import NS_PER_S, parse_duration

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        ago_s = parse_duration(text) / NS_PER_S
        return datetime.fromtimestamp(max(datetime.now(UTC).timestamp() - ago_s, 0), UTC)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _is_since(line: Line, earliest: datetime | None) -> bool:
    if earliest is None:
        return True
    try:
        return datetime.fromisoformat(line.time) >= earliest
    except (ValueError, TypeError):
        return True


def _text(line: Line) -> str:
    """A line for people."""
    what = {"decision": line.verdict, "end": "ended"}.get(line.kind, line.kind)
    words: list[Any] = [line.time, f"{line.n:>6}", f"{what:<8}"]
    if line.action or line.type:
        words.append(f"{line.type or 'action'} {line.action}" + (f" {line.name!r}" if line.name else ""))
    if line.operations:
        words.append(", ".join(line.operations))
    words += [text for text in (line.state, ": ".join(text for text in (line.code, line.reason) if text)) if text]
    if line.signers:
        words.append(f"signed by {', '.join(line.signers)}")
    if line.unwritten:
        words.append(f"(and {line.unwritten:,} before it without a line)")
    return printable("  ".join(words))
