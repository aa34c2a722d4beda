"""Report: the figures of every study as a page, and a report of every experiment.

Reads   {study}/results.json, and of each study what its figures show
Writes  {study}/figures.html     1 draw_figures, which `snakemake --report` takes up
        report.html              2 write_report
Nothing here is read by another rule.
"""

SHOWN_OF_TRAIT = ("vectors.json", "vetting.json", "vetting.parquet")
SHOWN_OF_STEERING = ("search.parquet", "search_scores.parquet", "choice.json")
SHOWN_OF_BENCHMARK = ("confidence", "reply_labels", "sweep", "any_of_n")
# Where `snakemake --report` puts a page of figures.
IN_REPORT = {
    "caption": "../workflow/report/figures.rst",
    "category": lambda wildcards: wildcards.study.capitalize(),
    "subcategory": "{experiment}",
    "labels": {"experiment": "{experiment}", "page": "figures and tables"},
}


rule draw_figures:
    """The main figures and tables of one study as a page of its own."""
    input:
        files=figure_files,
    output:
        page=report("experiments/{experiment}/{study}/figures.html", **IN_REPORT),
    log:
        "logs/{experiment}/{study}/draw_figures.log",
    benchmark:
        "logs/{experiment}/{study}/draw_figures.tsv"
    wildcard_constraints:
        study=one_of(PARTS),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        version=stage_version("draw_figures"),
        settings=figure_settings,
    script:
        "../workflow/scripts/draw_figures.py"


rule write_report:
    """All studies of an experiment as one page."""
    input:
        files=report_files,
    output:
        page="experiments/{experiment}/report.html",
    log:
        "logs/{experiment}/write_report.log",
    benchmark:
        "logs/{experiment}/write_report.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        version=stage_version("write_report"),
        settings=page_settings,
    script:
        "../workflow/scripts/write_report.py"
