"""One tree of errors: each knows its code on the wire, its exit code and a hint for who meets it.

    InvestigatorError        1  internal      a defect of this program
    ├── BadInput             2  bad-input     what the user gave: a flag, a file, a target, a parameter
    │   ├── BadTarget        2  bad-target    with a caret at the place
    │   ├── BadRegex         2  bad-regex     with its position
    │   └── BadParameters    2  bad-parameters
    ├── Refused              3  refused       a check of trust said no; subclasses carry the reason's code
    ├── BrokerError          4  broker        no broker, or it went away
    ├── DeploymentError      5  deployment    no key, no configuration, permissions, disk full
    └── Incomplete           6  incomplete    it came through, but some agent did not answer what was asked

`investigator status` leaves with 7 where something needs care. Interrupted with Ctrl-C, a command leaves with 130, and with what had arrived.
"""

from __future__ import annotations

from typing import ClassVar


class InvestigatorError(Exception):
    """The root. `str(error)` is one line: what, and where; `hint` says what to do about it."""

    code: ClassVar[str] = "internal"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class BadInput(InvestigatorError):
    """Something that the user wrote cannot be taken as it is."""

    code = "bad-input"
    exit_code = 2


class BadTarget(BadInput):
    """A target that is no condition over the agents table; `position` counts characters from 0."""

    code = "bad-target"

    def __init__(self, message: str, *, text: str = "", position: int | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.text = text
        self.position = position


class BadRegex(BadInput):
    """A regular expression that RE2 does not compile; `position` counts characters from 0."""

    code = "bad-regex"

    def __init__(self, message: str, *, pattern: str, position: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.pattern = pattern
        self.position = position

    def at(self, where: str) -> BadRegex:
        """The same, with the parameter's path in front."""
        return BadRegex(f"{where}: {self}", pattern=self.pattern, position=self.position, hint=self.hint)


class BadParameters(BadInput):
    """Parameters that a module does not take; the message starts with the parameter's path."""

    code = "bad-parameters"


class Refused(InvestigatorError):
    """A check of trust said no."""

    code = "refused"
    exit_code = 3


class BrokerError(InvestigatorError):
    """There is no broker, it does not let us in, or it went away."""

    code = "broker"
    exit_code = 4


class DeploymentError(InvestigatorError):
    """This machine's deployment lacks something: a key, a file, a permission, room on the disk."""

    code = "deployment"
    exit_code = 5


class Incomplete(InvestigatorError):
    """An investigation came through, but not every targeted agent answered what was asked."""

    code = "incomplete"
    exit_code = 6
