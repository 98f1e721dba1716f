"""`investigator module NAME`: MIG's module mode. Parameters as JSON on standard input, one result as a line of JSON."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO, Annotated, Any, Final

import typer

MAX_PARAMETER_BYTES: Final = 64 << 20


def module(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which module.")],
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the parameters' JSON schema, and run nothing.")
    ] = False,
) -> int:
    """Run one module here, in this process, on the JSON parameters that standard input gives.

    They are bare, or as MIG's agent writes them: {"class":"parameters","parameters":{...}} in one line. The result is
    one line of JSON on stdout; with parameters that cannot be taken, it says so, and the exit code is 2.
    """
    return print_schema(name) if schema else run_module(name, sys.stdin.buffer)


def print_schema(name: str) -> int:
    """The schema of a module's parameters (JSON Schema, draft 2020-12)."""
    import orjson

    from investigator.cli.parameters import schema_of
    from investigator.modules import get_module

    document = schema_of(get_module(name).spec)
    print(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
    return 0


def run_module(name: str, source: IO[bytes], *, text: bool = False) -> int:
    """Read, run, print; `text` prints as people read it, instead of JSON.

    Raises:
        BadInput: the parameters, or the module, cannot be taken; the result that says so is on stdout.
    """
    from investigator.errors import BadInput
    from investigator.modules import get_module
    from investigator.modules.interface import Context, load_parameters
    from investigator.modules.needs import lacking, missing
    from investigator.protocol.result import Result

    try:
        found = get_module(name)
        lacks = missing(found.spec)
        asked = None if lacks else load_parameters(found, read_parameters(source), local=True)
    except BadInput as error:
        _print(Result.failed(str(error)))
        raise
    for note in lacking(found.spec):
        print(f"[notice] {note}", file=sys.stderr)
    try:
        result = Result.failed(lacks) if lacks else found.run(asked, Context(folder=str(Path.cwd())))
    except Exception as error:  # noqa: BLE001 - a module's own failure is its result
        result = Result.failed(f"{type(error).__name__}: {error}")
    if not text:
        _print(result)
        return 0
    from investigator.console.render_parts import ModuleLines

    for line in ModuleLines([name]).of(0, result, everything=True):
        print(line)
    return 0


def read_parameters(source: IO[bytes]) -> Any:
    """The parameters: a first line that is a whole object, else all there is.

    Whoever speaks MIG's protocol writes a line and keeps the pipe open.

    Raises:
        BadInput: no JSON, too much of it, or a message of MIG's that is no parameters.
    """
    import orjson

    from investigator.errors import BadInput
    from investigator.protocol.codec import strict_loads

    text = source.readline(MAX_PARAMETER_BYTES + 1)
    try:
        whole = isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        whole = False
    if not whole and len(text) <= MAX_PARAMETER_BYTES:
        text += source.read(MAX_PARAMETER_BYTES + 1 - len(text))
    if not text.strip():
        raise BadInput(
            "parameters: standard input is empty", hint="At least `{}` is expected; --schema says what fits."
        )
    value = strict_loads(text, what="parameters", max_bytes=MAX_PARAMETER_BYTES)
    if isinstance(value, dict) and "class" in value:
        if value["class"] != "parameters":
            raise BadInput("parameters: unexpected input is not module parameters")
        return value.get("parameters", {})
    return value


def _print(result: Any) -> None:
    import msgspec

    from investigator.console.render_parts import json_text

    print(json_text(msgspec.to_builtins(result), encoding=sys.stdout.encoding), flush=True)
