"""The graph of jobs, made sooner: with 100 traits on 10 models there are 12,000 jobs before the first one runs.

Gives   nothing; changes how long Snakemake takes, not what it does
"""

import functools
import gc
import sys

import smart_open
import snakemake.common
import snakemake.dag
import snakemake.jobs
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


# Whether a file has a mark is asked millions of times, each time through an abstract class.
def is_flagged(value, flag):
    flags = getattr(value, "flags", None)
    return bool(flags) and bool(flags.get(flag))


for name, part in list(sys.modules.items()):
    if name.partition(".")[0] == "snakemake" and hasattr(part, "is_flagged"):
        part.is_flagged = is_flagged

# A rule's environment is the same for all its jobs: its name needs no parameters of theirs.
expand_environment = snakemake.jobs.Job.conda_env_spec.fget
environments = {}


def environment_of_rule(job):
    if job.rule.name not in environments:
        environments[job.rule.name] = expand_environment(job)
    return environments[job.rule.name]


snakemake.jobs.Job.conda_env_spec = property(environment_of_rule)


# Jobs that wait for a checkpoint are made anew when it ends. Making all of them anew each time any checkpoint ends, and
# looking at the graph once more, is for input functions that ask for the name of their group, which ours do not.
make_incomplete_jobs_anew = snakemake.dag.DAG.update_incomplete_input_expand_jobs


@functools.cache
def asks_for_its_group(rule):
    return any(callable(one) and "groupid" in snakemake.rules.get_function_params(one) for one in rule.input)


async def make_jobs_of_groups_anew(graph):
    waiting = any(job.incomplete_input_expand and asks_for_its_group(job.rule) for job in graph.jobs)
    return waiting and await make_incomplete_jobs_anew(graph)


snakemake.dag.DAG.update_incomplete_input_expand_jobs = make_jobs_of_groups_anew


def collect_garbage_again():
    """For a run, which can last for days; the graph itself is looked at no more."""
    gc.freeze()
    gc.enable()
