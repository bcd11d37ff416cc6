# Distributions: the published ones from an archive, and those of the demo, which come with the package.

if plan.config.data_archive:

    rule unpack:
        input:
            archive=plan.data.archive,
        output:
            published_files(plan.data.resources),
        log:
            results / "logs" / "unpack.log",
        benchmark:
            results / "benchmarks" / "unpack.tsv"
        localrule: True
        threads: 1
        resources:
            mem_mb=2000,
        params:
            source=lambda wildcards, input: input.archive or plan.config.data_archive,
            folder=plan.files.resources / "genies",
            cache=cache,
            code=plan.code("genies.data.archive"),
        shell:
            "genies --log={log:q} unpack --output={params.folder:q} --cache={params.cache:q} -- {params.source:q}"


rule demo_data:
    output:
        demo_files(plan.data.resources),
    log:
        results / "logs" / "demo_data.log",
    benchmark:
        results / "benchmarks" / "demo_data.tsv"
    localrule: True
    threads: 1
    params:
        folder=plan.files.resources / "demo" / "distributions",
        data=distributions_digest(),
        code=plan.code("genies.demo.place"),
    shell:
        "genies --log={log:q} demo-data --output={params.folder:q}"


rule demo_model:
    output:
        plan.models.demo,
    log:
        results / "logs" / "demo_model.log",
    benchmark:
        results / "benchmarks" / "demo_model.tsv"
    localrule: True
    threads: 1
    params:
        code=plan.code("genies.demo.place"),
    shell:
        "genies --log={log:q} demo-model --output={output:q}"


rule mixture:
    input:
        lambda wildcards: sum(plan.data.mixture_parts(wildcards.mixture).values(), []),
    output:
        train=results / "mixtures" / "{mixture}" / "train.json",
        test=results / "mixtures" / "{mixture}" / "test.json",
    log:
        results / "logs" / "mixture" / "{mixture}.log",
    benchmark:
        results / "benchmarks" / "mixture" / "{mixture}.tsv"
    wildcard_constraints:
        mixture=one_of(plan.config.mixtures),
    localrule: True
    threads: 1
    params:
        source=lambda wildcards: plan.data.mixture_parts(wildcards.mixture)["source"][0].parent,
        other=lambda wildcards: plan.data.mixture_parts(wildcards.mixture)["other"][0].parent,
        percent=lambda wildcards: plan.config.mixtures[wildcards.mixture].percent,
        folder=subpath(output.train, parent=True),
        seed=plan.config.seed,
        code=plan.code("genies.data.mixture"),
    shell:
        "genies --log={log:q} mix --percent={params.percent:q} --seed={params.seed:q} --output={params.folder:q} "
        "-- {params.source:q} {params.other:q}"
