"""Stage `gap`: what a model can solve, and judges wrongly all the same.

planish s2j gap --model hf:./checkpoint --task chain:3
planish s2j gap --model hf:./trained --task chain:3 --base runs/s2j/20250102-030405-checkpoint
planish s2j gap --resume runs/s2j/20250102-030405-checkpoint
"""

from __future__ import annotations

__all__: list[str] = []
