"""What the scribe module takes: a policy, and how results are wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from investigator.errors import BadParameters
from investigator.modules.interface import flag
from investigator.modules.scribe.policy import Policy
from investigator.modules.scribe.policy_file import read_policy

if TYPE_CHECKING:
    from collections.abc import Mapping


class Parameters(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A policy and how its results are wanted; all of it travels in the action."""

    scribedoc: Policy
    onlytrue: bool = False
    humanoutput: bool = False
    jsonoutput: bool = False


class ScribeFlags(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The same as the command line writes it."""

    path: Annotated[str, flag("path", "the policy, JSON or YAML; read here, sent with the action", value="FILE")] = ""
    onlytrue: Annotated[bool, flag("onlytrue", "return only tests that are true")] = False
    human: Annotated[bool, flag("human", "print results in a form for people")] = False
    json: Annotated[bool, flag("json", "print each test's result as a line of JSON")] = False


def parameters_of_flags(values: Mapping[str, Any]) -> dict[str, Any]:
    """The operation's parameters from the JSON of a `ScribeFlags`; reads the policy.

    Raises:
        BadParameters: no policy, or one that cannot be read or is no JSON or YAML.
    """
    if not values.get("path"):
        raise BadParameters(
            "path: a policy is required", hint="-path FILE says which: a scribe document, JSON or YAML."
        )
    parameters: dict[str, Any] = {"scribedoc": read_policy(values["path"])}
    names = {"onlytrue": "onlytrue", "human": "humanoutput", "json": "jsonoutput"}
    return parameters | {names[key]: values[key] for key in names if key in values}
