"""Arrays of SLURM jobs, where the executor's own lose work.

Gives   nothing; corrects two faults of snakemake-executor-plugin-slurm 2.8

Each task of an array is begun by a snakemake that was made for the array's first job: it runs the task's own command,
then looks for the first job's outputs, and deletes those, finished or not, where the task failed
(https://github.com/snakemake/snakemake-executor-plugin-slurm/issues/447). Here every task becomes its own command.
And where more jobs are ready than may be in the queue, the plugin drops some of those it was told to submit, and waits
for them for ever (issues/473). Here it submits what it is told.
"""

import os
import sys

OPTION = "--slurm-jobstep-array-execs="
CALLS = next((word.removeprefix(OPTION) for word in sys.argv if word.startswith(OPTION)), None)
TASK, FIRST = (os.environ.get(f"SLURM_ARRAY_TASK_{name}") for name in ("ID", "MIN"))

if CALLS and TASK and TASK != FIRST:
    from snakemake_executor_plugin_slurm_jobstep import _decompress_array_task_call

    os.execvp("sh", ["sh", "-c", _decompress_array_task_call(CALLS, int(TASK))])

if "snakemake_executor_plugin_slurm" in sys.modules:
    sys.modules["snakemake_executor_plugin_slurm"].pending_jobs_for_rule = lambda dag, rule: 0
