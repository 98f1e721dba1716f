"""A module that tells what its worker has loaded, which is what the fork server had loaded before."""

import sys
from typing import Any

import msgspec

from investigator.modules.interface import Context, Spec
from investigator.protocol.result import Result


class Parameters(msgspec.Struct, forbid_unknown_fields=True):
    pass


class TellingModules:
    spec = Spec(name="telling_modules", summary="For tests.", parameters=Parameters, flags=None)

    def check(self, parameters: Parameters, *, local: bool) -> None:
        pass

    def run(self, parameters: Parameters, context: Context) -> Any:
        return Result(success=True, elements=sorted(sys.modules))


MODULE = TellingModules()
