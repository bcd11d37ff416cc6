"""A program: print shell command and benchmark file of every job that Snakemake would run, as JSON; nothing is run.

Called with Snakefile and configuration file, in the folder of the run.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

from snakemake.api import SnakemakeApi
from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, Quietness, ResourceSettings

with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
    workflow = api.workflow(
        resource_settings=ResourceSettings(cores=2),
        config_settings=ConfigSettings(configfiles=[Path(sys.argv[2])]),
        snakefile=Path(sys.argv[1]),
    )
    workflow.dag(DAGSettings(forceall=True)).execute_workflow(executor="dryrun")
    commands = defaultdict(list)
    jobs = list(workflow._workflow.dag.jobs)
    for job in jobs:
        if job.shellcmd:
            commands[job.rule.name].append(job.shellcmd)
json.dump({"commands": commands, "benchmarks": [str(job.benchmark) for job in jobs if job.benchmark]}, sys.stdout)
