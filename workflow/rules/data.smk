# Distributions: the published ones from an archive, and those of the demo, which come with the package.

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
            "genies --log={log:q} unpack --output={params.folder:q} --cache={params.cache:q} -- {params.source:q}"


rule demo_data:
    output:
        plan.demo_files(),
    log:
        plan.results / "logs" / "demo_data.log",
    benchmark:
        plan.results / "benchmarks" / "demo_data.tsv"
    localrule: True
    threads: 1
    params:
        folder=plan.resources / "demo" / "distributions",
        data=distributions_digest(),
        code=plan.code("genies.demo.place"),
    shell:
        "genies --log={log:q} demo-data --output={params.folder:q}"


rule demo_model:
    output:
        plan.demo_model,
    log:
        plan.results / "logs" / "demo_model.log",
    benchmark:
        plan.results / "benchmarks" / "demo_model.tsv"
    localrule: True
    threads: 1
    params:
        code=plan.code("genies.demo.place"),
    shell:
        "genies --log={log:q} demo-model --output={output:q}"


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
        "genies --log={log:q} mix --percent={params.percent:q} --seed={params.seed:q} --output={params.folder:q} "
        "-- {params.source:q} {params.other:q}"
