"""Running the file module as a worker does: JSON parameters in, JSON result out."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson
import pytest

from investigator.modules.file import MODULE
from investigator.modules.interface import Context, load_parameters

ALL = {"matchall": True}


class FileSearches:
    """Asks questions about one folder."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def run(self, searches: dict[str, Any], **context: Any) -> dict[str, Any]:
        """The result's JSON; searches without paths look at the folder."""
        searches = {label: {"paths": [self.folder], **search} for label, search in searches.items()}
        parameters = load_parameters(MODULE, {"searches": searches})
        result = MODULE.run(parameters, Context(**context))
        shown: dict[str, Any] = orjson.loads(orjson.dumps(msgspec.structs.asdict(result)))
        return shown

    def ask(self, **search: Any) -> dict[str, Any]:
        """The result of one search, matchall unless it says otherwise."""
        search["options"] = {**ALL, **search.get("options", {})}
        return self.run({"s1": search})

    def find(self, **search: Any) -> list[str]:
        """The files found by one search, sorted, relative to the folder."""
        return self.files(self.ask(**search))

    def files(self, result: dict[str, Any], label: str = "s1") -> list[str]:
        """The files of a label."""
        found = [element["file"] for element in result["elements"][label] or () if element["file"]]
        return sorted(file.removeprefix(self.folder + "/") for file in found)


@pytest.fixture
def searches(tmp_path: Any) -> Any:
    return FileSearches(str(tmp_path))


@pytest.fixture(scope="session")
def searches_in() -> type[FileSearches]:
    """For tests that build their own folder."""
    return FileSearches
