"""What a YARA scan may ask: MIG's JSON names and flags, `processes` besides, and their validation."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from investigator.errors import BadInput, BadParameters, BadRegex
from investigator.modules.file import MODULE as FILES
from investigator.modules.file.hunt import make_plans
from investigator.modules.file.names import NamePattern
from investigator.modules.file.opening import reason
from investigator.modules.file.parameters import SearchFlags
from investigator.modules.flags import module_flags, parse_flags
from investigator.modules.interface import flag, load_parameters
from investigator.modules.yara.rules import MAX_RULES_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from investigator.modules.file.checks import Plan

MAX_SEARCH_CHARACTERS: Final = 65_536


class Parameters(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Rules, and what they are applied to."""

    yara: Annotated[str, msgspec.Meta(description="the rules' text")]
    filesearch: Annotated[str, msgspec.Meta(description="which files: the file module's flags")] = ""
    processes: Annotated[str, msgspec.Meta(description="which processes: a regex on the path of the executable")] = ""


class YaraFlags(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The same as the command line writes it."""

    rules: Annotated[list[str], flag("rules", "file with rules; read here, sent with the action", value="FILE")] = []
    rule: Annotated[list[str], flag("rule", "rules as text", value="TEXT")] = []
    filesearch: Annotated[
        str, flag("files", "which files: the file module's flags, in one argument", value="FLAGS")
    ] = ""
    processes: Annotated[
        str, flag("processes", "regex on the path of the executables whose processes are scanned", value="REGEX")
    ] = ""


def parameters_of_flags(values: Mapping[str, Any]) -> dict[str, Any]:
    """The operation's parameters from the JSON of a `YaraFlags`; reads the files with rules.

    Raises:
        BadParameters: there are no rules, or a file cannot be read.
    """
    texts = [*map(_read_rules, values.get("rules", ())), *values.get("rule", ())]
    if not texts:
        raise BadParameters("rules: rules are required", hint="-rules FILE, or -rule TEXT.")
    return {"yara": "\n".join(texts)} | {key: values[key] for key in ("filesearch", "processes") if key in values}


def _read_rules(path: str) -> str:
    try:
        with Path(path).open(encoding="utf-8") as file:
            return file.read(MAX_RULES_CHARACTERS + 1)
    except UnicodeDecodeError:
        raise BadParameters(f"rules: {path}: is not UTF-8") from None
    except (OSError, ValueError) as error:
        why = reason(error) if isinstance(error, OSError) else str(error)
        raise BadParameters(f"rules: {path}: {why}") from None


def file_plans(parameters: Parameters, *, folder: str, local: bool) -> list[Plan]:
    """The file searches that choose the files; none where only processes are asked for.

    Raises:
        BadParameters, BadRegex: beginning with `filesearch`; or nothing is to be scanned at all.
    """
    text = parameters.filesearch
    if not text.strip():
        if not parameters.processes:
            raise BadParameters(
                "filesearch: neither files nor processes to scan",
                hint="-files '-path /usr/bin -name .', or -processes.",
            )
        return []
    if len(text) > MAX_SEARCH_CHARACTERS:
        raise BadParameters(f"filesearch: more than {MAX_SEARCH_CHARACTERS:,} characters")
    try:
        values = parse_flags(shlex.split(text), module_flags(SearchFlags), of="module file")
        search = load_parameters(FILES, FILES.from_flags(values), local=local)
        return make_plans(search.searches, folder=folder)
    except BadRegex as error:
        raise error.at("filesearch") from None
    except (BadInput, ValueError) as error:
        raise BadParameters(f"filesearch: {error}", hint=getattr(error, "hint", "")) from None


def name_pattern(parameters: Parameters) -> NamePattern | None:
    """The pattern that chooses processes; None where no processes are asked for.

    Raises:
        BadRegex: beginning with `processes`.
    """
    if not parameters.processes:
        return None
    try:
        return NamePattern(parameters.processes)
    except BadRegex as error:
        raise error.at("processes") from None
