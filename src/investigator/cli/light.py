"""Typer without pydantic where a value is already what is wanted.

Typer has pydantic convert every option's value, the absent `--help` included: 57 ms at each start, and 8 MB that an
agent would hold for life. Texts, paths and lists of texts need no conversion; all else still goes typer's way.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from typer.core import TyperCommand, TyperGroup


class LightCommand(TyperCommand):
    """A command whose plain values are taken as they are."""

    def get_params(self, ctx: Any) -> Any:
        """Its parameters, `--help` included."""
        return [_lightened(parameter) for parameter in super().get_params(ctx)]


class LightGroup(TyperGroup):
    """A group whose plain values are taken as they are."""

    def get_params(self, ctx: Any) -> Any:
        """Its parameters, `--help` included."""
        return [_lightened(parameter) for parameter in super().get_params(ctx)]


def _lightened(parameter: Any) -> Any:
    if "process_value" in vars(parameter):
        return parameter
    convert = parameter.process_value

    def process_value(ctx: Any, value: Any) -> Any:
        annotation = parameter.type_descriptor.annotation
        if value is None:
            if parameter.required:
                return convert(ctx, value)
        elif annotation is Path and isinstance(value, str) and not parameter.type_descriptor.parameter_info.exists:
            value = Path(value)
        elif not (isinstance(value, str) and annotation is str) and not (
            annotation == list[str] and not parameter.type_descriptor.is_choice
        ):
            return convert(ctx, value)
        return parameter.callback(ctx, parameter, value) if parameter.callback is not None else value

    parameter.process_value = process_value
    return parameter
