"""The graph of jobs, made sooner: with 100 traits on 10 models there are 12,000 jobs before the first one runs.

Gives   nothing; changes how long Snakemake takes, not what it does
"""

import functools
import gc

import smart_open
import snakemake.common
import snakemake.rules

# The graph is made of objects that stay: to look among them for garbage again and again takes an eighth of the time.
gc.disable()

# What never changes, Snakemake asks anew for every job: what kind of path its script's is (a new class at each call),
# and which parameters its functions take. Together a sixth of the time.
smart_open.parse_uri = functools.cache(smart_open.parse_uri)
for place in (snakemake.common, snakemake.rules):
    if hasattr(place, "get_function_params"):
        place.get_function_params = functools.cache(place.get_function_params)


def collect_garbage_again():
    """For a run, which can last for days; the graph itself is looked at no more."""
    gc.freeze()
    gc.enable()
