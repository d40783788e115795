"""How `--help` is written, for every command.

app = App(help_format="plaintext", help_formatter=Flowing())
"""

from __future__ import annotations

from typing import Any

from cyclopts.help import DefaultFormatter, HelpEntry, HelpPanel, InlineText

__all__ = ["Flowing"]


class Flowing(DefaultFormatter):
    """cyclopts' own panels, in which a text flows instead of breaking where its docstring does.

    What has no value by default is not told as `[default: ()]` either.
    """

    def __call__(self, console: Any, options: Any, panel: HelpPanel) -> None:
        """Renders a panel."""
        entries = [_flowing(entry) for entry in panel.entries]
        super().__call__(console, options, panel.copy(entries=entries))


def _flowing(entry: HelpEntry) -> HelpEntry:
    from rich.text import Text

    held = getattr(entry.description, "primary_renderable", None)
    default = None if entry.default == "()" else entry.default
    if not isinstance(held, Text):
        return entry.copy(default=default)
    flowing = InlineText(Text(" ".join(held.plain.split())))
    return entry.copy(default=default, description=flowing)
