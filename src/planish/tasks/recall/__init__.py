"""Recall from long contexts: RULER's thirteen families over whole numbers, and two of our own."""

from planish.tasks.recall.families import EXTRA, FAMILIES, RULER
from planish.tasks.recall.task import RecallTask, recall_task

__all__ = ["EXTRA", "FAMILIES", "RULER", "RecallTask", "recall_task"]
