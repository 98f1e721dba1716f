"""Why the zipapp cannot start."""

from __future__ import annotations

EXIT_CODE = 5
"""The same as `investigator.errors.DeploymentError`'s, which cannot be imported yet."""


class CannotStart(Exception):
    """One line for stderr; the zipapp leaves with `EXIT_CODE`."""
