"""A module for tests that needs what no host has; loaded by the fork server under test."""

from typing import Any

import msgspec

from investigator.modules.interface import Need, Spec
from investigator.protocol.result import Result


class Parameters(msgspec.Struct, forbid_unknown_fields=True):
    pass


class Needy:
    spec = Spec(
        name="needy",
        summary="For tests.",
        parameters=Parameters,
        flags=None,
        needs=(Need(kind="program", name="no-such-program", why="read tea leaves"),),
    )

    def check(self, parameters: Parameters, *, local: bool) -> None:
        pass

    def run(self, parameters: Parameters, context: Any) -> Result:
        raise AssertionError("it was not to be run")


MODULE = Needy()
