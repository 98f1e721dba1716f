"""Stage 3, at the console: the target that people write, compiled to the condition that agents obey.

A target is one SQL condition over the columns of `protocol.target.COLUMNS`, with PostgreSQL's meaning or refused; or `all`; or a
macro of the configuration. `target_tokens`, `target_grammar` and `target_typing` are the three steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from investigator.errors import BadTarget
from investigator.protocol.target import ALL, Condition, Node, both, parse_condition

if TYPE_CHECKING:
    from collections.abc import Mapping

NO_MACROS: Final[Mapping[str, str]] = {}


def compile_target(text: str, macros: Mapping[str, str] = NO_MACROS) -> tuple[Node, Condition]:
    """The node tree of a target, and the same checked.

    `all` and the name of a macro stand alone. A macro's text is a condition, or `all`, never another macro.

    Raises:
        BadTarget: with the text and the place in it (a macro's own text, if it is in there): see `show_caret`.
    """
    word = text.strip()
    if word.lower() == "all":
        return list(ALL), parse_condition(ALL)
    if word in macros:
        try:
            return compile_target(macros[word])
        except BadTarget as error:
            raise BadTarget(f"macro {word!r}: {error}", text=error.text, position=error.position) from None
    if word.lower() == "local":
        raise BadTarget("target: 'local' means this machine, and is no condition on agents", text=text, position=0)
    if not word:
        raise BadTarget("target: it is empty", text=text, position=0, hint="To reach every agent, write 'all'.")
    from investigator.console.target_grammar import read_condition
    from investigator.console.target_typing import compile_syntax

    tree = compile_syntax(read_condition(text), text)
    try:
        return tree, parse_condition(tree)
    except BadTarget as error:
        raise BadTarget(str(error), text=text, position=0) from None


def with_outcome(tree: Node, action_id: str, *, found: bool) -> Node:
    """The tree for those of its agents with which an earlier action found something, or answered and found nothing.

    What `--target-found` and `--target-notfound` mean; an OR in the target does not escape the AND, as it does in MIG.

    Raises:
        BadTarget: that is no action's id.
    """
    if not action_id.isascii() or not action_id.isalnum() or len(action_id) > 64:
        raise BadTarget(f"target: {action_id[:80]!r} is no action's id")
    return both(["found" if found else "notfound", action_id], tree)


def show_caret(error: BadTarget, width: int = 100) -> str:
    """The line of the target with the error, cut to `width` columns, and a caret under the place; nothing without a place."""
    if error.position is None or not error.text:
        return ""
    place = min(error.position, len(error.text))
    begin = error.text.rfind("\n", 0, place) + 1
    line = error.text[begin:].split("\n", 1)[0]
    shown = "".join(sign if sign.isprintable() else " " for sign in line)
    first = max(0, min(place - begin - width // 2, len(shown) - width))
    return f"{shown[first : first + width]}\n{' ' * (place - begin - first)}^"
