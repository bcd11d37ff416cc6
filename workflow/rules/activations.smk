# Models, tokens and activations. What they make lies in the cache by digest; the outputs here name it.


rule model:
    input:
        lambda wildcards: plan.model_files(wildcards.model),
    output:
        plan.results / "models" / "{model}.json",
    log:
        plan.results / "logs" / "model" / "{model}.log",
    benchmark:
        plan.results / "benchmarks" / "model" / "{model}.tsv"
    localrule: True
    threads: 1
    params:
        identifier=lambda wildcards: plan.models[wildcards.model],
        revision=lambda wildcards: plan.revision_option(wildcards.model),
        cache=plan.cache,
        files=lambda wildcards: plan.identities(plan.model_files(wildcards.model)),
        code=plan.code("genies.stages.model"),
    shell:
        "genies --log={log:q} model {params.revision:q} --cache={params.cache:q} --output={output:q} "
        "-- {params.identifier:q}"


rule tokenize:
    input:
        model=rules.model.output,
        train=[plan.distribution_file(name, "train") for name in plan.train_distributions],
        test=[plan.distribution_file(name, "test") for name in plan.test_distributions],
    output:
        plan.results / "tokens" / "{model}.json",
    log:
        plan.results / "logs" / "tokenize" / "{model}.log",
    benchmark:
        plan.results / "benchmarks" / "tokenize" / "{model}.tsv"
    threads: 2
    resources:
        # So that an extraction for which the disk is too small is refused at once; no token depends on it.
        extraction=plan.extraction_options,
    params:
        train_views=plan.views["train"],
        test_views=plan.views["test"],
        templates=plan.templates(),
        seed=plan.config.seed,
        framing=plan.framing,
        prompt_format=plan.config.prompt_format,
        overlong=plan.config.overlong,
        limit=plan.limit_json,
        cache=plan.cache,
        data=[plan.data_digest("train", plan.train_distributions), plan.data_digest("test", plan.test_distributions)],
        code=plan.code("genies.stages.tokenize"),
    shell:
        further(train="input.train", test="input.test")
        + "genies --stdin --log={log:q} tokenize --model={input.model:q} "
        "--train-views {params.train_views:q} --test-views {params.test_views:q} --seed={params.seed:q} "
        "--framing={params.framing:q} --prompt-format={params.prompt_format:q} --overlong={params.overlong:q} "
        "--limit={params.limit:q} {resources.extraction} --cache={params.cache:q} --output={output:q}"


rule extract:
    input:
        model=rules.model.output,
        tokens=rules.tokenize.output,
    output:
        plan.results / "activations" / "{model}" / "{batch}.json",
    log:
        plan.results / "logs" / "extract" / "{model}" / "{batch}.log",
    benchmark:
        plan.results / "benchmarks" / "extract" / "{model}" / "{batch}.tsv"
    # It takes all cores, so it goes before jobs that take one: those fill the cores after it together with fits.
    priority: 1
    threads: 8
    resources:
        gpu=gpus_of_job(plan.config.extraction.device, workflow.local_exec),
        # How the work is cut and where it runs does not decide what comes out, so it triggers no rerun.
        device=plan.config.extraction.device,
        batch_tokens=plan.config.extraction.batch_tokens,
    params:
        distributions=lambda wildcards: plan.batch(wildcards.batch),
        train_views=plan.views["train"],
        test_views=plan.views["test"],
        options=plan.extraction_options,
        cache=plan.cache,
        code=plan.code("genies.stages.extract"),
    shell:
        further("params.distributions")
        + "genies --stdin --log={log:q} extract --model={input.model:q} --tokens={input.tokens:q} "
        "--train-views {params.train_views:q} --test-views {params.test_views:q} "
        "{params.options} --device={resources.device:q} --batch-tokens={resources.batch_tokens:q} "
        "--cache={params.cache:q} --output={output:q}"
