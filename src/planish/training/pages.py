"""What the report of a training and the card of a checkpoint are made of.

    figure = curve(rows, "loss", {"loss": "loss"})
    write_text(out / "README.md", card("judge", what="A judge of ...", ...))

A card names no place on this machine: it goes where the checkpoint goes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from planish.runs.info import RunInfo

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["curve", "front_matter", "made_with", "markdown", "pace", "shown"]

_WINDOW = 20  # points of a curve are means over so many parts of the training


def curve(rows: Sequence[Mapping[str, Any]], label: str, lines: Mapping[str, str]) -> Figure | None:
    """Logged numbers over the steps; None where nothing of them was logged.

    Means over stretches of equal length: a point per step would be all noise.

    Args:
        rows: one per step, with `step` and the numbers.
        label: of the y axis.
        lines: what each line is called, and the number that it shows.
    """
    from planish.runs.plots import Series, line_plot

    size = max(1, len(rows) // _WINDOW)
    parts = [rows[start : start + size] for start in range(0, len(rows), size)]
    series = []
    for name, logged in lines.items():
        points = [
            (part[-1]["step"], sum(values) / len(values))
            for part in parts
            if (values := [row[logged] for row in part if row.get(logged) is not None])
        ]
        if points:
            series.append(Series(name, [x for x, _ in points], [y for _, y in points]))
    return line_plot(series, xlabel="step", ylabel=label) if series else None


def front_matter(*, model: str, on_hub: bool, pipeline: str, tags: Sequence[str]) -> str:
    """The head of a card as the Hub reads it.

    Args:
        model: what was trained, such as hf:Qwen/Qwen2.5-7B.
        on_hub: whether that is a Hub id: a path of this machine means nothing elsewhere.
        pipeline: what the Hub calls its use.
        tags: for whoever searches.
    """
    base = f"base_model: {model.partition(':')[2]}\n" if on_hub else ""
    listed = "".join(f"- {tag}\n" for tag in tags)
    return f"---\n{base}library_name: transformers\npipeline_tag: {pipeline}\ntags:\n{listed}---\n"


def made_with(info: RunInfo, *, run: str, fingerprint: str) -> str:
    """The last line of a card: versions, run and seed, and the weights that it began with."""
    versions = ", ".join(f"{name} {version}" for name, version in info.versions.items())
    return f"{versions}; run `{run}`, seed {info.seed}, weights {fingerprint} before."


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """The rows of a table, without its head."""
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows
    )


def shown(value: Any) -> str:
    """A number as a card shows it."""
    if value is None:
        return "n/a"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def pace(steps_per_second: float | None) -> str:
    """How fast a training went, as the end of a sentence; nothing where no step was made."""
    return "" if steps_per_second is None else f", {steps_per_second:.3g} steps a second"
