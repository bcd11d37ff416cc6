# Evaluations: a probability for every test pair of every target; metrics: tables over all shifts.


rule evaluate:
    input:
        fits=rules.fit.output,
        activations=rules.fit.input.activations,
        test=[plan.distribution_file(name, "test") for name in plan.test_distributions],
    output:
        [
            plan.results / "evaluations" / "{model}" / "{intervention}" / f"{source}.parquet"
            for source in plan.fit_sources
        ],
    log:
        plan.results / "logs" / "evaluate" / "{model}" / "{intervention}.log",
    benchmark:
        plan.results / "benchmarks" / "evaluate" / "{model}" / "{intervention}.tsv"
    wildcard_constraints:
        intervention=one_of(plan.probes),
    threads: 1
    resources:
        mem_mb=4000,
    params:
        pairs=plan.probe_pairs,
        folder=subpath(output[0], parent=True),
        cache=plan.cache,
        data=plan.data_digest("test", plan.test_distributions),
        code=lambda wildcards: plan.code("genies.stages.evaluate", intervention=wildcards.intervention),
    shell:
        further("params.pairs", test="input.test", activations="input.activations")
        + "genies --stdin --log={log:q} evaluate --fits={input.fits:q} --cache={params.cache:q} "
        "--output={params.folder:q}"


rule overlap:
    input:
        train=[plan.distribution_file(name, "train") for name in plan.fit_sources],
        test=[plan.distribution_file(name, "test") for name in plan.test_distributions],
    output:
        examples=plan.overlap_file,
        counts=plan.results / "overlap.csv",
    log:
        plan.results / "logs" / "overlap.log",
    benchmark:
        plan.results / "benchmarks" / "overlap.tsv"
    localrule: True
    threads: 1
    params:
        pairs=plan.probe_pairs,
        seed=plan.config.seed,
        limit=plan.limit_json,
        folder=plan.results,
        data=[plan.data_digest("train", plan.fit_sources), plan.data_digest("test", plan.test_distributions)],
        code=plan.code("genies.stages.overlap"),
    shell:
        further("params.pairs", train="input.train", test="input.test")
        + "genies --stdin --log={log:q} overlap --seed={params.seed:q} --limit={params.limit:q} "
        "--output={params.folder:q}"


rule records:
    input:
        overlap=rules.overlap.output.examples,
        tokens=expand(rules.tokenize.output, model=plan.models),
        activations=expand(rules.extract.output, model=plan.models, batch=plan.batches),
        fits=expand(rules.fit.output, model=plan.models, intervention=[p for p in plan.probes if p not in plan.repeats]),
        tuned=plan.tuned(),
    output:
        texts=plan.results / "texts.csv",
        training=plan.results / "training.csv",
        checks=plan.results / "checks.csv",
        sites=plan.results / "sites.csv",
    log:
        plan.results / "logs" / "records.log",
    benchmark:
        plan.results / "benchmarks" / "records.tsv"
    localrule: True
    threads: 1
    params:
        shifts=[f"{shift.source}:{shift.target}" for shift in plan.shifts],
        folder=plan.results,
        code=plan.code("genies.stages.records"),
    shell:
        further(
            "params.shifts",
            tokens="input.tokens",
            activations="input.activations",
            fits="input.fits",
            tuned="input.tuned",
        )
        + "genies --stdin --log={log:q} records --overlap={input.overlap:q} --output={params.folder:q}"


rule metrics:
    input:
        evaluations=plan.evaluations(),
        repeats=plan.evaluations(repeats=True),
        overlap=rules.overlap.output.examples,
        fits=plan.capability_fits,
        shifts=plan.shift_lists,
    output:
        metrics=report(plan.results / "generalization_metrics.csv", caption="../report/metrics.rst", category="Tables"),
        leaderboard=report(plan.results / "leaderboard.csv", caption="../report/leaderboard.rst", category="Tables"),
        means=plan.results / "means.csv",
        categories=plan.results / "elicitation_by_category.csv",
        cells=plan.results / "cells.csv",
        comparisons=report(plan.results / "comparisons.csv", caption="../report/comparisons.rst", category="Tables"),
        intervals=plan.results / "intervals.csv",
        reliability=plan.results / "reliability.csv",
        correlations=plan.results / "correlations.csv",
        seeds=plan.results / "seeds.csv",
        answers=plan.results / "answers.csv",
        ties=plan.results / "ties.csv",
    log:
        plan.results / "logs" / "metrics.log",
    benchmark:
        plan.results / "benchmarks" / "metrics.tsv"
    localrule: True
    threads: 1
    params:
        evaluations=plan.results / "evaluations",
        folder=plan.results,
        models=list(plan.models),
        interventions=plan.methods,
        repeats=list(plan.repeats),
        # As configured, since lists that come with the package lie elsewhere in a container.
        shifts=plan.config.shifts,
        protocol=plan.config.protocol,
        capability=plan.capability_interventions,
        trained=plan.trained,
        on_references=plan.on_references,
        seed=plan.config.seed,
        code=plan.code("genies.stages.metrics"),
    shell:
        further("params.evaluations", shifts="params.shifts", fits="input.fits")
        + "genies --stdin --log={log:q} metrics --models {params.models:q} --interventions {params.interventions:q} "
        "--protocol={params.protocol:q} --capability {params.capability:q} --trained {params.trained:q} "
        "--on-references {params.on_references:q} --repeats {params.repeats:q} "
        "--overlap={input.overlap:q} --seed={params.seed:q} --output={params.folder:q}"


rule samples:
    input:
        evaluations=plan.evaluations(),
        test=[plan.distribution_file(name, "test") for name in plan.test_distributions],
    output:
        plan.results / "samples.json",
    log:
        plan.results / "logs" / "samples.log",
    benchmark:
        plan.results / "benchmarks" / "samples.tsv"
    localrule: True
    threads: 1
    params:
        pairs=[f"{source}:{target}" for source, target in plan.sampled_pairs],
        references=plan.references,
        on_references=plan.on_references,
        evaluations=plan.results / "evaluations",
        models=list(plan.models),
        interventions=plan.methods,
        framing=plan.framing,
        limit=plan.limit_json,
        seed=plan.config.seed,
        data=plan.data_digest("test", plan.test_distributions),
        code=plan.code("genies.stages.samples"),
    shell:
        further("params.pairs", references="params.references", test="input.test")
        + "genies --stdin --log={log:q} samples --evaluations={params.evaluations:q} --models {params.models:q} "
        "--interventions {params.interventions:q} --on-references {params.on_references:q} "
        "--framing={params.framing:q} --limit={params.limit:q} --seed={params.seed:q} --output={output:q}"
