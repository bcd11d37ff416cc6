# What all rules share: the configuration, the plan that is made from it, and what holds for every job.

import json
import sys
import time
from contextlib import ExitStack
from functools import partial

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.settings.types import Quietness
from snakemake.utils import min_version

min_version("9.0")

try:
    from genies.config.load import load_config
    from genies.demo.place import distributions_digest
    from genies.devices import gpus_of_job, visible_gpus
    from genies.engine.reads import to_flags
    from genies.errors import GeniesError
    from genies.options import flags
    from genies.plan import Plan, find_programs_beside, one_of
    from genies.plan.checks import beside_files
    from genies.plan.data import demo_files, published_files
    from genies.plan.parameters import interventions_json, parameters_json, sweep_json
    from genies.plan.products import products
    from genies.plan.selection import own_pairs
    from genies.plan.selection import pairs_of
    from genies.plan.timed import timed
    from genies.report.progress import Progress
    from genies.store.users import at_work
except ModuleNotFoundError as error:
    raise WorkflowError(
        f"{error}: install the package genies where Snakemake runs, with pip and the folder or URL of its repository"
    ) from None

# Where no configuration is given, the demo's is taken. (Always loading it would mix the two.)
if not workflow.config_settings.configfiles and set(config) <= set(workflow.config_settings.config):

    configfile: "config/config.yaml"

    if config.keys() & {"model", "models"} & set(workflow.config_settings.config) and workflow.is_main_process:
        print("genies: no --configfile is given, so the demo's shifts run on this model", file=sys.stderr)


try:
    plan = Plan(load_config(config, workflow.config_settings.config, workflow.config_settings.configfiles))
except GeniesError as error:
    raise WorkflowError(str(error)) from None

results, cache = plan.files.results, plan.files.cache
find_programs_beside(sys.executable)


def further(*arguments, **lists):
    """Shell text that gives ``genies --stdin`` arguments, however long their lists are.

    Command lines have a limit; the shell's own ``printf`` and a pipe have none. A value after ``--option=``, and what
    follows ``--``, may begin with a dash.

    Args:
        arguments: what Snakemake puts in for arguments without an option, such as ``input.test``.
        lists: likewise by option; it is given once for each value.
    """
    options = [f"printf -- '--{name.replace('_', '-')}=%s\\0' {{{values}:q}}" for name, values in lists.items()]
    rest = [f"printf '%s\\0' -- {' '.join(f'{{{values}:q}}' for values in arguments)}"] if arguments else []
    return f"({'; '.join([*options, *rest])}) | "


# On a workstation as many jobs of the resource `gpu` at a time as there are GPUs, unless told otherwise.
if workflow.local_exec and "gpu" not in workflow.global_resources and (gpus := visible_gpus()):
    workflow.register_resource("gpu", len(gpus))


# With `--sdm apptainer` alone.
container: plan.config.container


report: "../report/workflow.rst"


# Every manifest and evaluation, and what analyses and sweeps write. The targets ask for them too: of a job that failed,
# Snakemake deletes the outputs, and would not miss them where the tables that were once made of them are still there.
made = [*(product.file for product in products(plan)), *plan.files.analysed, *plan.files.sweeps()]


begin = time.time()
# Between two jobs, too, the cache is in use.
working = ExitStack()


onstart:
    working.enter_context(at_work(cache, results.parent))
    if not {Quietness.ALL, Quietness.PROGRESS} & set(workflow.output_settings.quiet or ()):
        jobs_by_rule = workflow.dag.stats()[1]
        Progress(results / "benchmarks", jobs_by_rule).attach(logger)


onsuccess:
    if plan.files.page.is_file() and plan.files.page.stat().st_mtime >= begin:
        from genies.report.summary import summary_lines

        held = partial(plan.jobs.gpus_held, local=workflow.local_exec)
        # With --touch, tables may be empty.
        try:
            print(*summary_lines(results, cache, begin, held), sep="\n", file=sys.stderr)
        except GeniesError as error:
            print(f"genies: {error}", file=sys.stderr)


wildcard_constraints:
    model=one_of(plan.models.every),
    intervention=one_of([*plan.methods.names, *plan.methods.repeats]),
    source=one_of(plan.selection.fitted_on),
    batch=r"\d+",
    group=r"\d+",


include: "data.smk"
include: "activations.smk"
include: "interventions.smk"
include: "directions.smk"
include: "evaluation.smk"
include: "report.smk"
