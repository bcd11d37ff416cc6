# What all rules share: the configuration, the plan that is made from it, and what holds for every job.

import sys

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

min_version("9.0")

try:
    from genies.config import load_config
    from genies.devices import visible_gpus
    from genies.errors import GeniesError
    from genies.plan import Plan, find_programs_beside, one_of
except ModuleNotFoundError as error:
    raise WorkflowError(
        f"{error}: install the package genies where Snakemake runs, with pip and the folder or URL of its repository"
    ) from None

# Where no configuration is given, the demo's is taken. (Always loading it would mix the two.)
if not workflow.config_settings.configfiles and set(config) <= set(workflow.config_settings.config):

    configfile: "config/config.yaml"


try:
    plan = Plan(load_config(config, workflow.config_settings.config))
except GeniesError as error:
    raise WorkflowError(str(error)) from None

find_programs_beside(sys.executable)

# On a workstation as many jobs of the resource `gpu` at a time as there are GPUs, unless told otherwise.
if workflow.local_exec and "gpu" not in workflow.global_resources and (gpus := visible_gpus()):
    workflow.register_resource("gpu", len(gpus))


# A model that is spread takes all of them. A cluster's profile says how many GPUs a job has.
def gpus_for(device):
    return max(1, len(visible_gpus())) if device == "balanced" and workflow.local_exec else 1


# With `--sdm apptainer` alone.
container: plan.config.container


report: "../report/workflow.rst"


onsuccess:
    if plan.page.is_file():
        print(f"The report: {plan.page}", file=sys.stderr)


wildcard_constraints:
    model=one_of(plan.models),
    intervention=one_of([*plan.methods, *plan.repeats]),
    source=one_of(plan.fit_sources),
    batch=r"\d+",
    group=r"\d+",


include: "data.smk"
include: "activations.smk"
include: "interventions.smk"
include: "evaluation.smk"
include: "report.smk"
