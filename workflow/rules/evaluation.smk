# Evaluations: a probability for every test pair of every target; metrics: tables over all shifts.


rule evaluate:
    input:
        fits=rules.fit.output,
        activations=rules.fit.input.activations,
        reference=lambda wildcards: plan.reference_activations(wildcards.model, wildcards.intervention),
        test=plan.data.test(plan.selection.tested),
    output:
        [
            results / "evaluations" / "{model}" / "{intervention}" / f"{source}.parquet"
            for source in plan.selection.fitted_on
        ],
    log:
        results / "logs" / "evaluate" / "{model}" / "{intervention}.log",
    benchmark:
        results / "benchmarks" / "evaluate" / "{model}" / "{intervention}.tsv"
    wildcard_constraints:
        intervention=one_of(plan.methods.with_jobs),
    threads: 1
    resources:
        mem_mb=4000,
    params:
        pairs=plan.selection.probe_pairs,
        folder=subpath(output[0], parent=True),
        cache=cache,
        data=plan.data.digest("test", plan.selection.tested),
        code=lambda wildcards: plan.code("genies.stages.evaluate", intervention=wildcards.intervention),
    shell:
        further("params.pairs", test="input.test", activations="input.activations", reference="input.reference")
        + "genies --stdin --log={log:q} evaluate --fits={input.fits:q} --cache={params.cache:q} "
        "--output={params.folder:q}"


rule ensemble:
    input:
        lambda wildcards: plan.files.members(wildcards.model, wildcards.intervention, wildcards.source),
    output:
        results / "evaluations" / "{model}" / "{intervention}" / "{source}.parquet",
    log:
        results / "logs" / "ensemble" / "{model}" / "{intervention}" / "{source}.log",
    benchmark:
        results / "benchmarks" / "ensemble" / "{model}" / "{intervention}" / "{source}.tsv"
    wildcard_constraints:
        intervention=one_of(plan.methods.ensembles),
    localrule: True
    threads: 1
    params:
        targets=lambda wildcards: plan.jobs.targets(wildcards.intervention, wildcards.source),
        combine=lambda wildcards: plan.methods.ensembles[wildcards.intervention].combine,
        penalty=lambda wildcards: plan.methods.ensembles[wildcards.intervention].penalty,
        seed=plan.config.seed,
        code=plan.code("genies.stages.ensemble"),
    shell:
        further("params.targets", members="input")
        + "genies --stdin --log={log:q} ensemble --combine={params.combine:q} --penalty={params.penalty:q} "
        "--seed={params.seed:q} --output={output:q}"


rule overlap:
    input:
        train=plan.data.train(plan.selection.fitted_on),
        test=plan.data.test(plan.selection.tested),
    output:
        examples=plan.files.overlap,
        counts=results / "overlap.csv",
    log:
        results / "logs" / "overlap.log",
    benchmark:
        results / "benchmarks" / "overlap.tsv"
    localrule: True
    threads: 1
    params:
        pairs=plan.selection.probe_pairs,
        reading=flags(plan.reading, only=("seed", "limit")),
        folder=results,
        data=[plan.data.digest("train", plan.selection.fitted_on), plan.data.digest("test", plan.selection.tested)],
        code=plan.code("genies.stages.overlap"),
    shell:
        further("params.pairs", train="input.train", test="input.test")
        + "genies --stdin --log={log:q} overlap {params.reading:q} --output={params.folder:q}"


rule records:
    input:
        overlap=rules.overlap.output.examples,
        tokens=expand(rules.tokenize.output, model=plan.models),
        activations=expand(rules.extract.output, model=plan.models, batch=plan.jobs.batches),
        fits=plan.fits.of_probes,
        tuned=plan.fits.all_trained,
    output:
        texts=results / "texts.csv",
        training=results / "training.csv",
        checks=results / "checks.csv",
        sites=results / "sites.csv",
        reward_models=results / "reward_models.csv",
    log:
        results / "logs" / "records.log",
    benchmark:
        results / "benchmarks" / "records.tsv"
    localrule: True
    threads: 1
    params:
        shifts=plan.selection.shift_pairs,
        folder=results,
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
        evaluations=plan.files.evaluations(),
        repeats=plan.files.evaluations(repeats=True),
        overlap=rules.overlap.output.examples,
        fits=plan.fits.for_capability,
        nulls=plan.files.nulls,
        directions=plan.files.direction_tables,
        own_scores=plan.data.own_scores,
        shifts=plan.shift_lists,
    output:
        metrics=report(plan.files.table("generalization_metrics"), caption="../report/metrics.rst", category="Tables"),
        leaderboard=report(plan.files.table("leaderboard"), caption="../report/leaderboard.rst", category="Tables"),
        comparisons=report(plan.files.table("comparisons"), caption="../report/comparisons.rst", category="Tables"),
        others=plan.files.tables(without=("generalization_metrics", "leaderboard", "comparisons")),
    log:
        results / "logs" / "metrics.log",
    benchmark:
        results / "benchmarks" / "metrics.tsv"
    localrule: True
    threads: 1
    params:
        evaluations=results / "evaluations",
        folder=results,
        models=list(plan.models),
        interventions=plan.methods.names,
        repeats=list(plan.methods.repeats),
        absent=plan.absent,
        # As configured, since lists that come with the package lie elsewhere in a container.
        shifts=plan.config.shifts,
        protocol=plan.config.protocol,
        capability=plan.methods.capability,
        trained=plan.methods.trained,
        surface=plan.methods.baselines,
        on_references=plan.jobs.on_references,
        seed=plan.config.seed,
        code=plan.code("genies.stages.metrics"),
    shell:
        further(
            "params.evaluations",
            shifts="params.shifts",
            fits="input.fits",
            nulls="input.nulls",
            directions="input.directions",
            own_scores="input.own_scores",
        )
        + "genies --stdin --log={log:q} metrics --models {params.models:q} --interventions {params.interventions:q} "
        "--protocol={params.protocol:q} --capability {params.capability:q} --trained {params.trained:q} "
        "--surface {params.surface:q} "
        "--on-references {params.on_references:q} --repeats {params.repeats:q} --absent {params.absent:q} "
        "--overlap={input.overlap:q} --seed={params.seed:q} --output={params.folder:q}"


rule samples:
    input:
        evaluations=plan.files.evaluations(),
        test=plan.data.test(plan.selection.tested),
        tokens=expand(rules.tokenize.output, model=plan.models),
        described=expand(described, model=plan.models),
    output:
        results / "samples.json",
    log:
        results / "logs" / "samples.log",
    benchmark:
        results / "benchmarks" / "samples.tsv"
    localrule: True
    threads: 1
    params:
        pairs=plan.selection.sampled_pairs,
        references=plan.selection.references,
        on_references=plan.jobs.on_references,
        absent=plan.absent,
        evaluations=results / "evaluations",
        models=list(plan.models),
        interventions=plan.methods.names,
        reading=flags(plan.reading, only=("seed", "framing", "limit")),
        data=plan.data.digest("test", plan.selection.tested),
        code=plan.code("genies.stages.samples"),
    shell:
        further(
            "params.pairs",
            references="params.references",
            test="input.test",
            tokens="input.tokens",
            described="input.described",
        )
        + "genies --stdin --log={log:q} samples --evaluations={params.evaluations:q} --models {params.models:q} "
        "--interventions {params.interventions:q} --on-references {params.on_references:q} "
        "--absent {params.absent:q} {params.reading:q} --output={output:q}"
