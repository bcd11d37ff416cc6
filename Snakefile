import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

from genies.config import load_config
from genies.errors import GeniesError
from genies.plan import Plan, one_of

min_version("9.0")

# A configuration names its run; without one the demo's is taken. (Always loading it would mix the two.)
if "run" not in config:

    configfile: "config/config.yaml"


try:
    plan = Plan(load_config(config))
except GeniesError as error:
    raise WorkflowError(str(error)) from None

# Jobs find the `genies` command beside the Python that runs Snakemake, whatever PATH says.
shell.prefix(f"export PATH={Path(sys.executable).parent}:$PATH; ")


container: "docker://python:3.11"


report: "workflow/report/workflow.rst"


wildcard_constraints:
    model=one_of(plan.models),
    intervention=one_of([*plan.methods, *plan.repeats]),
    source=one_of(plan.fit_sources),
    batch=r"\d+",


include: "workflow/rules/data.smk"
include: "workflow/rules/activations.smk"
include: "workflow/rules/interventions.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/report.smk"


# So are the rules with `localrule: True`: on a cluster they run beside Snakemake, being small or in need of a network.
localrules:
    all,


rule all:
    default_target: True
    input:
        plan.results / "report.html",
        plan.results / "generalization_metrics.csv",
        plan.results / "leaderboard.csv",
        plan.results / "provenance.json",
