"""Options that many commands share, as cyclopts reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

__all__ = ["RUNS", "Count", "Json", "RunsDir", "Seed", "Share"]

RUNS = Path("runs")
Json = Annotated[bool, Parameter(name="--json", negative="")]
RunsDir = Annotated[Path, Parameter(name=("--runs", "--runs-dir"))]
"""Under both names everywhere: a stage whose own runs are files leaves `--runs` to these."""
Seed = Annotated[int, Parameter(validator=Number(gte=0))]
Count = Annotated[int, Parameter(validator=Number(gte=1))]
Share = Annotated[float, Parameter(validator=Number(gte=0, lte=1))]
