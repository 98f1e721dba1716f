"""What a module is: a declaration (`Spec`), and one function that runs.

From the declaration come validation, the command line's flags, the JSON schema and the manual. A module's parameters
are a `msgspec.Struct` with MIG's JSON names; each field that a command line can set carries `flag(...)` in its
annotation, with MIG's flag name. Modules see `protocol` and this file, nothing else of the package.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

import msgspec

from investigator.errors import BadParameters
from investigator.nearest import nearest
from investigator.protocol.codec import whole_floats_as_integers
from investigator.protocol.result import Result

OS = Literal["linux", "darwin", "windows"]
MASK = "masked"
"""What stands in a result for a value in extra privacy mode, as in MIG."""
ANYWHERE: frozenset[OS] = frozenset(("linux", "darwin", "windows"))


def flag(
    name: str, help_text: str, *, value: str = "", default: Any = None, aliases: tuple[str, ...] = ()
) -> msgspec.Meta:
    """The annotation of a parameter that the command line can set.

    A `list` field's flag may be given several times, a `bool` field's takes no value or `=true|false`, an `int` field's
    takes a number, every other the text itself. `default` is what the command line sets where the flag is absent and may
    differ from the JSON default (MIG's `matchall` does); None sets nothing. `value` is the placeholder shown in help.
    """
    return msgspec.Meta(
        description=help_text, extra={"flag": name, "value": value, "default": default, "aliases": aliases}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Something that a host must give a module; without an essential one the agent answers `unavailable` instead."""

    kind: Literal["root", "capability", "package", "program", "path"]
    """`capability` is Linux's (`CAP_SYS_PTRACE`), `package` a Python package, `program` one found in the system's folders."""
    name: str = ""
    why: str
    """What it is needed for, as the end of "needs NAME to ..."."""
    essential: bool = True
    """False: the module runs without it and finds less, which its result says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A module as data."""

    name: str
    summary: str
    parameters: type[msgspec.Struct]
    """The wire shape: an operation's `parameters`. Unknown keys are refused (`forbid_unknown_fields`)."""
    flags: type[msgspec.Struct] | None
    """The struct whose annotated fields (nested structs included) are the flags; None: no command line for it."""
    platforms: frozenset[OS] = ANYWHERE
    needs: tuple[Need, ...] = ()
    details: str = ""
    """Paragraphs for the manual: what is found and what is not, limits, differences between systems."""
    help_when_bare: bool = True
    """Whether the command line without any argument prints the help, instead of running with defaults."""
    examples: tuple[tuple[str, str], ...] = ()
    """(what for, command line after the module's name) pairs for the manual."""


def keep(elements: Any) -> bool:  # noqa: ARG001 - the shape of `Context.hand_over`
    """Take nothing: the result has it all, as where a module runs without an agent."""
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a running operation may know of its surroundings."""

    deadline_s: float = float("inf")
    """When it is killed, on `time.monotonic()`'s scale; a module that can, ends before and says what it left out."""
    folder: str = "/"
    """What relative paths start from; operations from other hosts have none (see `Module.check`)."""
    now: float = field(default_factory=time.time)
    """The start of the run, seconds since 1970."""
    result_bytes: int = 23 << 20
    """How large the result's JSON may become; a module with more to say cuts it and says so in `Result.errors`."""
    hand_over: Callable[[Any], bool] = keep
    """Hand over findings at once, in the shape of `elements`, when there are `PIECE_BYTES` of them. True: they are on their
    way, and the result leaves them out; the reader appends lists and joins objects by key. False: keep them, and do not ask
    again. They count for `result_bytes` all the same. For the module's own thread alone. `modules.findings` does all that."""


P = TypeVar("P", bound=msgspec.Struct)
P_contra = TypeVar("P_contra", bound=msgspec.Struct, contravariant=True)


class Module(Protocol[P_contra]):
    """One thing that can be asked of a host."""

    spec: Spec

    def check(self, parameters: P_contra, *, local: bool) -> None:
        """Raise `BadParameters` (or `BadRegex`), naming the parameter, for what cannot run.

        The console calls it before signing, the agent before running: the same lines, the same verdict. `local` is
        true for `-t local`, where relative paths are allowed.
        """

    def from_flags(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """An operation's `parameters` from the nested JSON that the flags set (the shape of `spec.flags`)."""

    def run(self, parameters: P_contra, context: Context) -> Result:
        """Do it, in a worker process of its own. Soft errors go into `Result.errors`; raising is a failed operation."""

    def lines(self, result: Mapping[str, Any], *, everything: bool) -> Iterator[str]:
        """The result as MIG prints it: positive findings, or with `everything` all the rest as well."""

    def masked(self, result: Mapping[str, Any], parameters: P_contra) -> dict[str, Any]:
        """The result for extra privacy mode: whatever names a file, person, peer or host, and errors' texts, is `MASK`."""


def load_parameters(module: Module[P], parameters: Any, *, local: bool = False) -> P:
    """Validate JSON against the module's declaration and its own check; the only way to a module's parameters.

    Raises:
        BadParameters: naming the parameter's path and the reason; for an unknown key, the nearest known one.
    """
    loaded = load_struct(parameters, module.spec.parameters, what=f"module {module.spec.name}")
    module.check(loaded, local=local)  # type: ignore[arg-type]
    return loaded  # type: ignore[return-value]


def load_struct(given: Any, shape: type[msgspec.Struct], *, what: str) -> msgspec.Struct:
    """JSON as this struct; whole floats are integers, and a member that is null counts as absent.

    Raises:
        BadParameters: `what`, the path and the reason; for an unknown key, the nearest known one.
    """
    try:
        if _is_loose(given):
            given = _without_nulls(whole_floats_as_integers(given), shape_of(shape))
        return msgspec.convert(given, shape)
    except msgspec.ValidationError as error:
        raise BadParameters(f"{what}: {_readable(str(error), shape)}") from None


@functools.cache
def shape_of(parameters: type[msgspec.Struct]) -> msgspec.inspect.Type:
    """The struct as msgspec sees it: 4 ms to work out, so whoever loads modules ahead calls this too."""
    return msgspec.inspect.type_info(parameters)


def _is_loose(parameters: Any) -> bool:
    """Whether there is a float or a null in it at all: a large policy has none, and is not copied for them then."""
    pending = [parameters]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)
        elif value is None or isinstance(value, float):
            return True
    return False


def _without_nulls(value: Any, info: msgspec.inspect.Type) -> Any:
    """A struct's member that is null counts as absent: MIG writes `null` for every list that was never filled."""
    if isinstance(info, msgspec.inspect.Metadata):
        return _without_nulls(value, info.type)
    if isinstance(info, msgspec.inspect.StructType) and isinstance(value, dict):
        known = {item.encode_name: item.type for item in info.fields}
        return {
            key: _without_nulls(item, known[key]) if key in known else item
            for key, item in value.items()
            if item is not None or key not in known
        }
    if isinstance(info, msgspec.inspect.DictType) and isinstance(value, dict):
        return {key: _without_nulls(item, info.value_type) for key, item in value.items()}
    if isinstance(info, msgspec.inspect.ListType) and isinstance(value, list):
        return [_without_nulls(item, info.item_type) for item in value]
    return value


def _readable(problem: str, parameters: type[msgspec.Struct]) -> str:
    """The message of msgspec with the path first, and for an unknown key the nearest known one."""
    text, _, place = problem.partition(" - at `")
    path = place.rstrip("`").removeprefix("$").removeprefix(".") or "parameters"
    text = text.replace("Object contains unknown field", "there is no parameter").replace("`", "'")
    unknown = re.search(r"there is no parameter '(.*)'", text)
    if unknown:
        near = nearest(unknown[1], sorted(_field_names(parameters)))
        text += f"; did you mean {near!r}?" if near else ""
    return f"{path}: {text}"


def _field_names(struct: type[msgspec.Struct]) -> set[str]:
    """The JSON names of a struct's fields, and of the structs within."""
    names: set[str] = set()
    pending: list[Any] = [shape_of(struct)]
    while pending:
        info = pending.pop()
        if isinstance(info, msgspec.inspect.StructType):
            names.update(item.encode_name for item in info.fields)
            pending.extend(item.type for item in info.fields)
        for attribute in ("types", "item_type", "value_type", "type"):
            inner = getattr(info, attribute, None)
            if inner is not None:
                pending.extend(inner if isinstance(inner, tuple) else (inner,))
    return names
