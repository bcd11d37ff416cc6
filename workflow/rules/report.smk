# The report: one page that works offline, and what its numbers come from.


rule provenance:
    input:
        results=[
            *rules.overlap.output,
            *rules.metrics.output,
            *rules.records.output,
            *rules.samples.output,
            *(rules.sweep.output if plan.config.sweep else []),
        ],
        made=made,
        data=plan.data.files,
        own_code=plan.methods.own_code,
    output:
        report(results / "provenance.json", caption="../report/provenance.rst", category="Provenance"),
    log:
        results / "logs" / "provenance.log",
    benchmark:
        results / "benchmarks" / "provenance.tsv"
    localrule: True
    threads: 1
    params:
        config=plan.config.model_dump_json(),
        code=plan.code("genies.stages.provenance"),
    shell:
        further("input.results", config="params.config") + "genies --stdin --log={log:q} provenance --output={output:q}"


rule costs:
    input:
        # What it measures is done by then.
        rules.provenance.output,
        activations=expand(rules.extract.output, model=plan.models.every, batch=plan.jobs.batches),
        fits=plan.fits.of_probes_and_repeats,
        trained=plan.fits.all_trainings,
    output:
        costs=results / "costs.csv",
        jobs=results / "jobs.csv",
    log:
        results / "logs" / "costs.log",
    benchmark:
        results / "benchmarks" / "costs.tsv"
    localrule: True
    threads: 1
    params:
        plugins=plan.files.plugins,
        benchmarks=results / "benchmarks",
        folder=results,
        cache=cache,
        code=plan.code("genies.stages.costs"),
    shell:
        further(activations="input.activations", fits="input.fits", trained="input.trained", plugins="params.plugins")
        + "genies --stdin --log={log:q} costs --benchmarks={params.benchmarks:q} --cache={params.cache:q} "
        "--output={params.folder:q}"


rule report:
    input:
        rules.overlap.output,
        rules.metrics.output,
        rules.records.output,
        rules.samples.output,
        sweep=rules.sweep.output if plan.config.sweep else [],
        provenance=rules.provenance.output,
        costs=rules.costs.output,
        beside=beside_files(plan),
    output:
        page=report(results / "report.html", caption="../report/page.rst", category="Report"),
        figures=report(
            directory(results / "figures"),
            patterns=["{figure}.svg"],
            caption="../report/figures.rst",
            category="Figures",
        ),
    log:
        results / "logs" / "report.log",
    benchmark:
        results / "benchmarks" / "report.tsv"
    localrule: True
    threads: 1
    params:
        folder=results,
        title=plan.config.run,
        beside=plan.config.beside,
        code=plan.code("genies.report.page"),
    shell:
        further("params.folder", beside="params.beside")
        + "genies --stdin --log={log:q} report --title={params.title:q} --provenance={input.provenance:q} "
        "--output={output.page:q}"
