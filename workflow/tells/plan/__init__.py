"""What a run will take, before it starts: jobs, answers, GPU hours, calls to a judge and their cost, storage.

Jobs, answers, tokens and hidden states are counted from the definition and the files it names; nothing is loaded.
Hours, and bytes of tables, come from what earlier jobs recorded in logs/: where none of the same kind has finished
here, they are unknown, and no number takes their place.
"""

from tells.plan.estimate import Hours, Plan, Storage, plan
from tells.plan.rates import read_statuses
from tells.plan.steps import Step
from tells.plan.table import plan_tables

__all__ = ["Hours", "Plan", "Step", "Storage", "plan", "plan_tables", "read_statuses"]
