"""Options that many commands share, as cyclopts reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

__all__ = ["RUNS", "Count", "Json", "RunsDir", "Seed", "Share", "Whole"]


def _whole(type_: Any, tokens: Sequence[Any]) -> int:
    """Digits alone: cyclopts itself would take 1.5 for 2."""
    typed: str = tokens[0].value
    try:
        return int(typed)
    except ValueError:
        raise ValueError(f"{typed!r} is not a whole number") from None


RUNS = Path("runs")
Json = Annotated[bool, Parameter(name="--json", negative="")]
RunsDir = Annotated[Path, Parameter(name=("--runs", "--runs-dir"))]
"""Under both names everywhere: a stage whose own runs are files leaves `--runs` to these."""
Whole = Annotated[int, Parameter(converter=_whole)]
Seed = Annotated[Whole, Parameter(validator=Number(gte=0, lt=1 << 31))]
"""As far as every generator of random numbers can go."""
Count = Annotated[Whole, Parameter(validator=Number(gte=1))]
Share = Annotated[float, Parameter(validator=Number(gte=0, lte=1))]
