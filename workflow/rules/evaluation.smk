# Ensembles, which combine evaluations; metrics: tables over all shifts.


rule ensemble:
    input:
        lambda wildcards: plan.evaluations.of_members(wildcards.model, wildcards.intervention),
    output:
        [
            results / "evaluations" / "{model}" / "{intervention}" / f"{source}.parquet"
            for source in plan.selection.sources
        ],
    log:
        results / "logs" / "ensemble" / "{model}" / "{intervention}.log",
    benchmark:
        results / "benchmarks" / "ensemble" / "{model}" / "{intervention}.tsv"
    wildcard_constraints:
        intervention=one_of(name for name in plan.methods.ensembles if name not in plan.jobs.on_references),
    localrule: True
    threads: 1
    params:
        pairs=lambda wildcards: pairs_of(plan.jobs.targets(wildcards.intervention)),
        combine=lambda wildcards: plan.methods.ensembles[wildcards.intervention].combine,
        penalty=lambda wildcards: plan.methods.ensembles[wildcards.intervention].penalty,
        seed=plan.config.seed,
        folder=subpath(output[0], parent=True),
        code=plan.code("genies.stages.ensemble"),
    shell:
        further("params.pairs", members="input")
        + "genies --stdin --log={log:q} ensemble --combine={params.combine:q} --penalty={params.penalty:q} "
        "--seed={params.seed:q} --output={params.folder:q}"


# The same of ensembles whose members are all fitted on references, too: a rule's outputs cannot depend on that.
use rule ensemble as ensemble_on_references with:
    output:
        [
            results / "evaluations" / "{model}" / "{intervention}" / f"{source}.parquet"
            for source in plan.selection.fitted_on
        ],
    log:
        results / "logs" / "ensemble_on_references" / "{model}" / "{intervention}.log",
    benchmark:
        results / "benchmarks" / "ensemble_on_references" / "{model}" / "{intervention}.tsv"
    wildcard_constraints:
        intervention=one_of(name for name in plan.methods.ensembles if name in plan.jobs.on_references),


rule overlap:
    input:
        train=plan.data.train(plan.selection.fitted_on),
        test=plan.data.test(plan.selection.tested),
    output:
        examples=plan.files.overlap,
        counts=results / "overlap.csv",
        shared=results / "shared_texts.csv",
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


rule metrics:
    input:
        evaluations=plan.evaluations.all,
        repeats=plan.evaluations.of_repeats,
        overlap=rules.overlap.output.examples,
        fits=plan.fits.for_capability,
        analyses=plan.files.analysed,
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
        capability=plan.roles.capability,
        trained=plan.roles.trained,
        surface=plan.roles.baselines,
        on_references=plan.jobs.on_references,
        tuned=json.dumps(plan.lineage.tuned_from_own),
        saw=json.dumps(plan.methods.saw),
        seed=plan.config.seed,
        code=plan.code("genies.stages.metrics"),
    shell:
        further(
            "params.evaluations",
            shifts="params.shifts",
            fits="input.fits",
            analyses="input.analyses",
            own_scores="input.own_scores",
        )
        + "genies --stdin --log={log:q} metrics --models {params.models:q} --interventions {params.interventions:q} "
        "--protocol={params.protocol:q} --capability {params.capability:q} --trained {params.trained:q} "
        "--surface {params.surface:q} "
        "--on-references {params.on_references:q} --repeats {params.repeats:q} --absent {params.absent:q} "
        "--overlap={input.overlap:q} --tuned={params.tuned:q} --saw={params.saw:q} "
        "--seed={params.seed:q} --output={params.folder:q}"
