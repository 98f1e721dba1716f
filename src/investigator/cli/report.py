"""What went wrong, as a person reads it: one line, a caret where there is a place, a hint, an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from typing import TYPE_CHECKING, Any, Final, TypeGuard

from investigator.errors import BadInput, BadRegex, BadTarget, DeploymentError, InvestigatorError
from investigator.printable import columns, printable

if TYPE_CHECKING:
    from typer import TyperException

CARET_WINDOW: Final = 72


def report(error: BaseException, *, program: str, debug: bool = False) -> int:
    """Say it on stderr; the exit code is the error's own (see `errors`)."""
    if isinstance(error, BaseExceptionGroup):
        error = _first(error)
    if isinstance(error, KeyboardInterrupt):
        return 130
    context = getattr(error, "ctx", None)
    if _is_usage(error) and context is not None and error.message == context.get_help():
        print(error.message, file=sys.stderr)  # typer raises help as an error where a group of commands stands alone
        return 2
    known = _known(error)
    lines = [f"{program}: {printable(str(known))}"]
    if isinstance(known, BadTarget):
        from investigator.console.condition import show_caret

        lines += [f"  {line}" for line in show_caret(known).splitlines()]
    elif isinstance(known, BadRegex):
        lines += caret(known.pattern, known.position)
    if known.hint:
        lines.append(f"  {printable(known.hint)}")
    if debug and not isinstance(error, InvestigatorError):
        lines = ["".join(traceback.format_exception(error)).rstrip(), *lines]
    print("\n".join(lines), file=sys.stderr, flush=True)
    return known.exit_code


def caret(text: str, position: int) -> list[str]:
    """Two lines: the text around the place, and `^` below it; `position` counts characters from 0."""
    position = min(max(position, 0), len(text))
    start = max(0, position - CARET_WINDOW // 2) if len(text) > CARET_WINDOW else 0
    before = ("…" if start else "") + printable(text[start:position])
    after = printable(text[position : start + CARET_WINDOW]) + ("…" if start + CARET_WINDOW < len(text) else "")
    return [f"  {before}{after}", f"  {' ' * columns(before)}^"]


def _known(error: BaseException) -> InvestigatorError:
    """The error in our own tree."""
    if isinstance(error, InvestigatorError):
        return error
    if _is_usage(error):
        return _usage(error)
    if _is_typers(error, "Abort"):
        return BadInput("stopped: the input ended before it was complete")
    if isinstance(error, OSError) and error.errno is not None:
        what = error.filename if error.filename is not None else "a write or a connection"
        return DeploymentError(f"{os.fsdecode(what) if isinstance(what, bytes) else what}: {os.strerror(error.errno)}")
    if isinstance(error, MemoryError):
        return DeploymentError("out of memory")
    return InvestigatorError(
        f"internal error: {type(error).__name__}: {str(error)[:300]}",
        hint="This is a defect of the program; with INVESTIGATOR_DEBUG=1 it shows where.",
    )


def _is_usage(error: BaseException) -> TypeGuard[TyperException]:
    return _is_typers(error, "TyperException")


def _is_typers(error: BaseException, name: str) -> bool:
    """Whether it is typer's; not where typer was not loaded, as in an agent."""
    typer: Any = sys.modules.get("typer")
    return typer is not None and isinstance(error, getattr(typer, name))


def _usage(error: TyperException) -> BadInput:
    """An option or argument that typer does not take."""
    context = getattr(error, "ctx", None)
    message = error.format_message().rstrip(".").replace("Value error, ", "")
    message = message[:1].lower() + message[1:]
    if context is None:
        return BadInput(message)
    return BadInput(message, hint=f"`{context.command_path} --help` says what there is.")


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one to tell of several: our own before others', a person's interruption before all."""
    flat: list[BaseException] = []
    pending: list[BaseException] = [group]
    while pending:
        error = pending.pop(0)
        if isinstance(error, BaseExceptionGroup):
            pending.extend(error.exceptions)
        else:
            flat.append(error)
    for kind in (KeyboardInterrupt, InvestigatorError, OSError):
        for error in flat:
            if isinstance(error, kind):
                return error
    return flat[0]
