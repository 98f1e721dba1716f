"""The file module: files by name, size, mode, time, content and hash.

`parameters` is what may be asked, `checks` makes a plan of it, `walk` goes through the folders, `hunt` judges what it
finds, `readers`, `reading` and `sources` read files whose content decides, `content` matches lines, `report` and `lines`
say what was found. MIG's JSON, flags and printed lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from investigator.modules.file.hunt import Hunt, clean, make_plans
from investigator.modules.file.lines import result_lines
from investigator.modules.file.parameters import Parameters, SearchFlags, parameters_of_flags, validate_places
from investigator.modules.file.report import Report
from investigator.modules.interface import MASK, Context, Need, Spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from investigator.protocol.result import Result


class FileModule:
    """See the package's docstring; stateless."""

    spec = Spec(
        name="file",
        summary="find files by name, size, mode, time, content and hash",
        parameters=Parameters,
        flags=SearchFlags,
        needs=(Need(kind="capability", name="CAP_DAC_READ_SEARCH", why="read other users' files", essential=False),),
        details=(
            "Walks the paths and reports regular files, and links to regular files, for which all checks hold; with "
            "-matchany each check reports its own. Folders, FIFOs, sockets and devices are never opened, links to folders "
            "are not entered. No file system is left out: files of /proc are read though they have no size. What cannot be "
            "read is an error of the result, at most -maxerrors of them, and then a count.\n\n"
            "Regular expressions are RE2's and unanchored. -content looks at lines of any length, of text and binary files "
            "alike; a byte that is no UTF-8 is one character that only `.` and negated classes match. With a leading ! no "
            "line must match. -macroal asks it of all lines.\n\n"
            "Sizes are inclusive; with -decompress the size is still that on the disk, contents and hashes are those of the "
            "unpacked file. Times count from the start of the run.\n\n"
            "A path that is no UTF-8 comes back in shell quotes, $'/srv/caf\\xe9', and can be searched for in this form. Of "
            "contents nothing is ever returned."
        ),
        examples=(
            ("the account database", "-path /etc -name '^passwd$'"),
            ("fresh, large and executable", "-path /home -size '>1m' -mtime '<2d' -mode 'x'"),
            ("a known bad binary, by hash", "-path /usr/bin -md5 cf4eb543a119e87cb112785e2b62ccd0"),
            ("accounts without a password", "-path /etc/shadow -content '^[^:]+::'"),
        ),
    )

    def check(self, parameters: Parameters, *, local: bool) -> None:
        """Raise `BadParameters` or `BadRegex`, starting with the parameter's path."""
        validate_places(parameters.searches, local=local)
        make_plans(parameters.searches, folder="/")

    def from_flags(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """One search, labelled `s1`; matchany wins over matchall, verbose becomes `debug`."""
        return parameters_of_flags(values)

    def run(self, parameters: Parameters, context: Context) -> Result:
        """Run all searches in one walk."""
        plans = make_plans(parameters.searches, folder=context.folder)
        report = Report(plans, context)
        Hunt(plans, context, report).run()
        return report.result()

    def lines(self, result: Mapping[str, Any], *, everything: bool) -> Iterator[str]:
        """See `lines.result_lines`."""
        return result_lines(result, everything=everything)

    def masked(self, result: Mapping[str, Any], parameters: Parameters) -> dict[str, Any]:
        """The result for extra privacy mode: no file's path and no error's text.

        Where each check reports its own files MIG leaks the file's folder; here the search's own paths stand there.
        """
        elements = {}
        for label, found in (result.get("elements") or {}).items():
            paths = [clean(path, "/") for path in parameters.searches[label].paths]
            elements[label] = found and [_masked(element, paths) for element in found]
        errors = result.get("errors")
        return {**result, "elements": elements, "errors": errors and [MASK for _ in errors]}


def _masked(element: Mapping[str, Any], paths: list[str]) -> dict[str, Any]:
    if not element["file"]:
        return dict(element)
    return {**element, "file": MASK, "search": {**element["search"], "paths": paths}}


MODULE = FileModule()
