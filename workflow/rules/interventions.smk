# Fits: every intervention on the training pairs of every source. A fit is kept in the cache by digest.


rule fit:
    input:
        train=[plan.distribution_file(name, "train") for name in plan.fit_sources],
        activations=[plan.results / "activations" / "{model}" / f"{batch}.json" for batch in plan.batches],
    output:
        plan.results / "interventions" / "{model}" / "{intervention}.json",
    log:
        plan.results / "logs" / "fit" / "{model}" / "{intervention}.log",
    benchmark:
        plan.results / "benchmarks" / "fit" / "{model}" / "{intervention}.tsv"
    threads: 1
    resources:
        mem_mb=4000,
    params:
        intervention=lambda wildcards: plan.interventions[wildcards.intervention],
        parameters=lambda wildcards: plan.parameters_json(wildcards.intervention),
        seed=plan.config.seed,
        cache=plan.cache,
        code=lambda wildcards: plan.code("genies.interventions.fit", intervention=wildcards.intervention),
    shell:
        "genies --log {log} fit {params.intervention:q} --parameters {params.parameters:q} "
        "--train {input.train:q} --activations {input.activations:q} --seed {params.seed} "
        "--cache {params.cache:q} --output {output:q}"
