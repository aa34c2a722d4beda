"""The graph of jobs, made sooner: with 100 traits on 10 models there are 12,000 jobs before the first one runs.

Gives   nothing; changes how long Snakemake takes, not what it does
"""

import functools
import gc

import smart_open
import snakemake.common
import snakemake.dag
import snakemake.rules

# The graph is made of objects that stay: to look among them for garbage again and again takes an eighth of the time.
gc.disable()

# What never changes, Snakemake asks anew for every job: whether its rule's script is there, what kind of path that is (a
# new class at each call), and which parameters its functions take. Together a quarter of the time.
smart_open.parse_uri = functools.cache(smart_open.parse_uri)
for place in (snakemake.common, snakemake.rules):
    if hasattr(place, "get_function_params"):
        place.get_function_params = functools.cache(place.get_function_params)
look_for_script = snakemake.dag.ScriptProcessor.process_job
looked_at = set()


def look_for_script_once(processor, job):
    if job.rule.name not in looked_at:
        look_for_script(processor, job)
        looked_at.add(job.rule.name)


snakemake.dag.ScriptProcessor.process_job = look_for_script_once


def collect_garbage_again():
    """For a run, which can last for days; the graph itself is looked at no more."""
    gc.freeze()
    gc.enable()
