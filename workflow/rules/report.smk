# The report: one page that works offline, and what its numbers come from.


rule details:
    input:
        # Of what it measures the jobs of, all is done by then.
        rules.metrics.output,
        overlap=rules.overlap.output.examples,
        evaluations=plan.evaluations.all,
        test=plan.data.test(plan.selection.tested),
        tokens=expand(rules.tokenize.output, model=plan.models),
        described=expand(described, model=plan.models),
        activations=expand(rules.extract.output, model=plan.models, batch=plan.jobs.batches),
        compared=expand(rules.extract.output, model=plan.models.references, batch=plan.jobs.batches),
        fits=plan.fits.of_probes,
        repeats=plan.fits.of_repeats,
        tuned=plan.fits.all_trained,
        trained=plan.fits.all_trainings,
        sweep=rules.sweep.output if plan.config.sweep else [],
    output:
        records=[results / f"{name}.csv" for name in ("texts", "training", "checks", "sites", "reward_models")],
        samples=results / "samples.json",
        costs=[results / f"{name}.csv" for name in ("costs", "jobs")],
    log:
        results / "logs" / "details.log",
    benchmark:
        results / "benchmarks" / "details.tsv"
    localrule: True
    threads: 1
    params:
        shifts=plan.selection.shift_pairs,
        shown=plan.selection.sampled_pairs,
        models=list(plan.models),
        interventions=plan.methods.names,
        references=plan.selection.references,
        on_references=plan.jobs.on_references,
        absent=plan.absent,
        evaluations=results / "evaluations",
        plugins=plan.evaluations.plugins,
        benchmarks=results / "benchmarks",
        jobs=timed(plan),
        reading=flags(plan.reading, only=("seed", "framing", "limit")),
        folder=results,
        cache=cache,
        data=plan.data.digest("test", plan.selection.tested),
        code=plan.code("genies.stages.details"),
    shell:
        further(
            **{name: f"params.{name}" for name in ("shifts", "shown", "models", "interventions", "references")},
            **{name: f"params.{name}" for name in ("on_references", "absent", "plugins", "jobs")},
            **{name: f"input.{name}" for name in ("test", "tokens", "described", "activations", "compared")},
            **{name: f"input.{name}" for name in ("fits", "repeats", "tuned", "trained")},
        )
        + "genies --stdin --log={log:q} details --evaluations={params.evaluations:q} --overlap={input.overlap:q} "
        "--benchmarks={params.benchmarks:q} {params.reading:q} --cache={params.cache:q} --output={params.folder:q}"


rule provenance:
    input:
        results=[
            *rules.overlap.output,
            *rules.metrics.output,
            rules.details.output.records,
            rules.details.output.samples,
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


rule report:
    input:
        rules.overlap.output,
        rules.metrics.output,
        rules.details.output,
        sweep=rules.sweep.output if plan.config.sweep else [],
        provenance=rules.provenance.output,
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
