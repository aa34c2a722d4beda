"""Judging texts: who is asked, how an answer becomes a score, and the cache that keeps every answer."""

from tells.judge.api import ApiJudge
from tells.judge.exchange import JudgeStoppedError
from tells.judge.protocol import (
    EMPTY_TEXT,
    NO_ANSWER_GIVEN,
    Assessment,
    BudgetError,
    EntailmentJudge,
    Explanation,
    HarmJudge,
    Item,
    Judge,
    Judgement,
    Rubric,
    Task,
    Usage,
)
from tells.judge.scoring import Score, expected_score
from tells.judge.select import open_judge

__all__ = [
    "EMPTY_TEXT",
    "NO_ANSWER_GIVEN",
    "ApiJudge",
    "Assessment",
    "BudgetError",
    "EntailmentJudge",
    "Explanation",
    "HarmJudge",
    "Item",
    "Judge",
    "JudgeStoppedError",
    "Judgement",
    "Rubric",
    "Score",
    "Task",
    "Usage",
    "expected_score",
    "open_judge",
]
