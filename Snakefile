"""Tells: uncertainty, traits and safety of language models. The whole workflow on one screen."""

from snakemake.utils import min_version

min_version("9.0")


configfile: "config/config.yaml"


report: "workflow/report/workflow.rst"


include: "rules/arrays.smk"
include: "rules/graph.smk"
include: "rules/scheduler.smk"
include: "rules/common.smk"
include: "rules/inputs.smk"
include: "rules/engines.smk"
include: "rules/models.smk"
include: "rules/sampling.smk"
include: "rules/uncertainty.smk"
include: "rules/traits.smk"
include: "rules/safety.smk"
include: "rules/agreement.smk"
include: "rules/report.smk"


wildcard_constraints:
    experiment=one_of(EXPERIMENTS),
    study=one_of(STUDIES),
    collection=one_of(COLLECTIONS),
    model=one_of(MODELS),
    shard=r"\d{4}",


localrules:
    all,
    uncertainty,
    traits,
    safety,
    agreement,
    report,
    vectors,
    steering,
    prepare,
    fetch_model,
    prompts,


if SITE.judge_on_head:

    localrules:
        judge_scenarios,
        judge_responses,
        explain_failures,
        judge_steered,
        judge_report,
        classify,


if SITE.judge_on_head and clusters_by_judge():

    localrules:
        cluster,
        cluster_steered,


rule all:
    """Everything of every experiment the site names."""
    default_target: True
    input:
        study_results(),


rule uncertainty:
    """The uncertainty study of every experiment."""
    input:
        study_results("uncertainty"),


rule traits:
    """The traits study of every experiment."""
    input:
        study_results("traits"),


rule safety:
    """The safety study of every experiment."""
    input:
        study_results("safety"),


rule agreement:
    """All signals of all studies in one table, of every experiment that asks for it or has two studies."""
    input:
        agreements(),


rule report:
    """One page for each experiment, with all its studies."""
    input:
        expand("experiments/{experiment}/report.html", experiment=EXPERIMENTS),


rule vectors:
    """The vectors of every trait, without steering."""
    input:
        all_traits("vectors.safetensors"),


rule steering:
    """Every trait that is steered, to its report."""
    input:
        all_traits("summary.json", steered_alone=True),


rule prepare:
    """Prompts of every collection, before the rest: then all jobs are known, and the graph is made once."""
    input:
        all_prompts(),


onstart:
    collect_garbage_again()
    preflight()
    record_head(log)


onsuccess:
    forget_head()
    show_results()


onerror:
    forget_head()
