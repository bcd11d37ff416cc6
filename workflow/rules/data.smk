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
        threads: 1
        resources:
            mem_mb=2000,
        params:
            source=plan.config.data_archive,
            folder=plan.resources / "genies",
            cache=plan.cache,
            code=plan.code("genies.data.archive"),
        shell:
            "genies --log {log} unpack {params.source:q} --output {params.folder:q} --cache {params.cache:q}"


rule demo_world:
    output:
        plan.demo_files(),
        corpus=plan.resources / "demo" / "corpus.txt",
    log:
        plan.results / "logs" / "demo_world.log",
    benchmark:
        plan.results / "benchmarks" / "demo_world.tsv"
    threads: 1
    params:
        folder=plan.resources / "demo",
        seed=plan.config.seed,
        code=plan.code("genies.data.demo_world"),
    shell:
        "genies --log {log} demo-world --output {params.folder:q} --seed {params.seed}"


rule demo_model:
    input:
        corpus=rules.demo_world.output.corpus,
    output:
        plan.demo_model / "config.json",
        plan.demo_model / "model.safetensors",
        plan.demo_model / "tokenizer.json",
    log:
        plan.results / "logs" / "demo_model.log",
    benchmark:
        plan.results / "benchmarks" / "demo_model.tsv"
    threads: 2
    params:
        folder=plan.demo_model,
        seed=plan.config.seed,
        code=plan.code("genies.data.demo_model"),
    shell:
        "genies --log {log} demo-model --corpus {input.corpus:q} --output {params.folder:q} --seed {params.seed}"
