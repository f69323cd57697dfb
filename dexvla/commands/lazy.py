"""Commands that are imported when they are run: the list of them (`--help`) needs their names and first sentences."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup


@dataclass(frozen=True)
class Lazy:
    """place: module:function. summary: the first paragraph of its docstring, which a test compares."""

    place: str
    summary: str


class LazyCommands(TyperGroup):
    """A subclass names its commands."""

    lazy: ClassVar[Mapping[str, Lazy]] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._summaries: dict[str, Any] = {
            name: TyperCommand(name, help=lazy.summary) for name, lazy in self.lazy.items()
        }
        self.commands.update(self._summaries)
        self._listing = False

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in self.lazy and not self._listing and self.commands[cmd_name] is self._summaries[cmd_name]:
            self.commands[cmd_name] = _loaded(cmd_name, self.lazy[cmd_name])
        return super().get_command(ctx, cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        self._listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._listing = False


def _loaded(name: str, lazy: Lazy) -> Any:
    module, _, function = lazy.place.partition(":")
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    alone.command(name)(getattr(import_module(module), function))
    return typer.main.get_command(alone)
