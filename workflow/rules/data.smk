# Distributions: the published ones from an archive, and the demo world that the project makes itself.

if plan.config.data_archive:

    rule unpack:
        input:
            archive=plan.local_archive,
        output:
            plan.published_files(),
        log:
            plan.results / "logs" / "unpack.log",
        benchmark:
            plan.results / "benchmarks" / "unpack.tsv"
        localrule: True
        threads: 1
        resources:
            mem_mb=2000,
        params:
            source=lambda wildcards, input: input.archive or plan.config.data_archive,
            folder=plan.resources / "genies",
            cache=plan.cache,
            code=plan.code("genies.data.archive"),
        shell:
            "genies --log {log} unpack {params.source:q} --output {params.folder:q} --cache {params.cache:q}"


rule demo_world:
    output:
        plan.demo_files(),
        corpus=plan.resources / "demo" / "corpus.jsonl",
    log:
        plan.results / "logs" / "demo_world.log",
    benchmark:
        plan.results / "benchmarks" / "demo_world.tsv"
    localrule: True
    threads: 1
    params:
        folder=plan.resources / "demo",
        seed=plan.config.seed,
        templates=plan.templates(everything=True),
        code=plan.code("genies.data.demo_world"),
    shell:
        "genies --log {log} demo-world --output {params.folder:q} --seed {params.seed}"


rule demo_model:
    input:
        corpus=rules.demo_world.output.corpus,
    output:
        plan.demo_model_files(plan.demo_model),
    log:
        plan.results / "logs" / "demo_model.log",
    benchmark:
        plan.results / "benchmarks" / "demo_model.tsv"
    threads: 1
    params:
        folder=plan.demo_model,
        seed=plan.config.seed,
        templates=plan.templates(everything=True),
        code=plan.code("genies.data.demo_model"),
    shell:
        "genies --log {log} demo-model --corpus {input.corpus:q} --output {params.folder:q} --seed {params.seed}"


rule demo_reward_model:
    input:
        model=rules.demo_model.output,
        train=plan.demo_reward_sources(),
    output:
        plan.demo_model_files(plan.demo_reward_model),
    log:
        plan.results / "logs" / "demo_reward_model.log",
    benchmark:
        plan.results / "benchmarks" / "demo_reward_model.tsv"
    threads: 1
    params:
        model=plan.demo_model,
        folder=plan.demo_reward_model,
        seed=plan.config.seed,
        cache=plan.cache,
        code=plan.code("genies.tuning.demo_reward_model"),
    shell:
        "genies --log {log} demo-reward-model {params.model:q} --train {input.train:q} --output {params.folder:q} "
        "--seed {params.seed} --cache {params.cache:q}"


rule mixture:
    input:
        lambda wildcards: sum(plan.mixture_parts(wildcards.mixture).values(), []),
    output:
        train=plan.results / "mixtures" / "{mixture}" / "train.json",
        test=plan.results / "mixtures" / "{mixture}" / "test.json",
    log:
        plan.results / "logs" / "mixture" / "{mixture}.log",
    benchmark:
        plan.results / "benchmarks" / "mixture" / "{mixture}.tsv"
    wildcard_constraints:
        mixture=one_of(plan.config.mixtures),
    localrule: True
    threads: 1
    params:
        source=lambda wildcards: plan.mixture_parts(wildcards.mixture)["source"][0].parent,
        other=lambda wildcards: plan.mixture_parts(wildcards.mixture)["other"][0].parent,
        percent=lambda wildcards: plan.config.mixtures[wildcards.mixture].percent,
        folder=subpath(output.train, parent=True),
        seed=plan.config.seed,
        code=plan.code("genies.data.mixture"),
    shell:
        "genies --log {log} mix {params.source:q} {params.other:q} --percent {params.percent} --seed {params.seed} "
        "--output {params.folder:q}"
