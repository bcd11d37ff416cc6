# Models, tokens and activations. What they make lies in the cache by digest; the outputs here name it.

# What pins a model, whichever rule makes it.
described = results / "models" / "{model}.json"


rule model:
    input:
        lambda wildcards: plan.models.files(wildcards.model),
    output:
        results / "models" / "{model}.json",
    log:
        results / "logs" / "model" / "{model}.log",
    benchmark:
        results / "benchmarks" / "model" / "{model}.tsv"
    wildcard_constraints:
        model=one_of(plan.models.identifiers),
    localrule: True
    threads: 1
    params:
        identifier=lambda wildcards: plan.models.identifiers[wildcards.model],
        options=lambda wildcards: plan.models.flags(wildcards.model),
        cache=cache,
        files=lambda wildcards: plan.models.identities(plan.models.files(wildcards.model)),
        code=plan.code("genies.stages.model"),
    shell:
        "genies --log={log:q} model {params.options:q} --cache={params.cache:q} --output={output:q} "
        "-- {params.identifier:q}"


# Models that the run tunes: an adapter that it has trained, merged into the model that it was trained on.
rule merge:
    input:
        fits=lambda wildcards: plan.fits.tuned(wildcards.model),
        model=lambda wildcards: plan.files.model(plan.models.tuned_from(wildcards.model)),
    output:
        results / "models" / "{model}.json",
    log:
        results / "logs" / "merge" / "{model}.log",
    benchmark:
        results / "benchmarks" / "merge" / "{model}.tsv"
    wildcard_constraints:
        model=one_of(plan.models.tuned),
    # Much of a run waits for a merged model: with one core, and first, it need not wait for both to be free.
    priority: 2
    threads: 1
    params:
        source=lambda wildcards: plan.models.fit_of(wildcards.model).source,
        form="language model",
        cache=cache,
        code=plan.code("genies.stages.merge"),
    shell:
        "genies --log={log:q} merge --fits={input.fits:q} --model={input.model:q} --source={params.source:q} "
        "--form={params.form:q} --cache={params.cache:q} --output={output:q} -- {wildcards.model:q}"


# The same with the head that was trained with it, for the intervention `reward_model`.
use rule merge as merge_reward with:
    output:
        results / "models" / "rewards" / "{model}.json",
    log:
        results / "logs" / "merge_reward" / "{model}.log",
    benchmark:
        results / "benchmarks" / "merge_reward" / "{model}.tsv"
    wildcard_constraints:
        model=one_of(plan.models.rewards),
    params:
        source=rules.merge.params.source,
        form="reward model",
        cache=cache,
        code=rules.merge.params.code,


rule tokenize:
    input:
        model=described,
        train=lambda wildcards: plan.data.train(plan.trained_on(wildcards.model)),
        test=plan.data.test(plan.selection.tested),
    output:
        results / "tokens" / "{model}.json",
    log:
        results / "logs" / "tokenize" / "{model}.log",
    benchmark:
        results / "benchmarks" / "tokenize" / "{model}.tsv"
    threads: 2
    resources:
        # So that an extraction for which the disk is too small is refused at once; no token depends on it.
        extraction=" ".join(flags(plan.config.extraction)),
        train_reads=lambda wildcards: " ".join(to_flags(plan.tokenized(wildcards.model)["train"])),
        test_reads=lambda wildcards: " ".join(to_flags(plan.tokenized(wildcards.model)["test"])),
    params:
        train_views=lambda wildcards: list(plan.tokenized(wildcards.model)["train"]),
        test_views=lambda wildcards: list(plan.tokenized(wildcards.model)["test"]),
        wordings=lambda wildcards: plan.wordings(wildcards.model),
        worded_train=lambda wildcards: plan.worded(wildcards.model)["train"],
        worded_test=lambda wildcards: plan.worded(wildcards.model)["test"],
        templates=plan.templates(),
        reading=flags(plan.reading),
        cache=cache,
        data=lambda wildcards: [
            plan.data.digest("train", plan.trained_on(wildcards.model)),
            plan.data.digest("test", plan.selection.tested),
        ],
        code=plan.code("genies.stages.tokenize"),
    shell:
        further(
            train="input.train",
            test="input.test",
            worded_train="params.worded_train",
            worded_test="params.worded_test",
        )
        + "genies --stdin --log={log:q} tokenize --model={input.model:q} "
        "--train-views {resources.train_reads} --test-views {resources.test_reads} "
        "--wordings={params.wordings:q} {params.reading:q} "
        "{resources.extraction} --cache={params.cache:q} --output={output:q}"


rule extract:
    input:
        model=described,
        tokens=rules.tokenize.output,
    output:
        results / "activations" / "{model}" / "{batch}.json",
    log:
        results / "logs" / "extract" / "{model}" / "{batch}.log",
    benchmark:
        results / "benchmarks" / "extract" / "{model}" / "{batch}.tsv"
    # It takes all cores, so it goes before jobs that take one: those fill the cores after it together with fits.
    priority: 1
    threads: 8
    resources:
        gpu=gpus_of_job(plan.config.extraction.device, workflow.local_exec),
        # How the work is cut and where it runs does not decide what comes out, so it triggers no rerun.
        how=" ".join(flags(plan.config.extraction, decides=False)),
    params:
        distributions=lambda wildcards: plan.jobs.batch(wildcards.batch),
        train_views=lambda wildcards: to_flags(plan.reads(wildcards.model)["train"]),
        test_views=lambda wildcards: to_flags(plan.reads(wildcards.model)["test"]),
        extraction=flags(plan.config.extraction, decides=True),
        cache=cache,
        code=plan.code("genies.stages.extract"),
    shell:
        further("params.distributions")
        + "genies --stdin --log={log:q} extract --model={input.model:q} --tokens={input.tokens:q} "
        "--train-views {params.train_views:q} --test-views {params.test_views:q} "
        "{params.extraction:q} {resources.how} --cache={params.cache:q} --output={output:q}"
