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
        cache=plan.cache,
        data=plan.data_digest("train", plan.fit_sources),
        code=lambda wildcards: plan.code("genies.stages.fit", intervention=wildcards.intervention),
    shell:
        further("params.intervention", train="input.train", activations="input.activations")
        + "genies --stdin --log={log:q} fit --parameters={params.parameters:q} --cache={params.cache:q} "
        "--output={output:q}"


rule tune:
    input:
        model=rules.model.output,
        tokens=rules.tokenize.output,
        train=lambda wildcards: [
            plan.distribution_file(name, "train")
            for name in plan.tuning_group(wildcards.intervention, wildcards.group)
        ],
        test=lambda wildcards: [
            plan.distribution_file(name, "test") for name in plan.tuning_tests(wildcards.intervention, wildcards.group)
        ],
        others=lambda wildcards: plan.other_model_files(wildcards.intervention),
    output:
        plan.results / "interventions" / "{model}" / "{intervention}" / "groups" / "{group}.json",
    log:
        plan.results / "logs" / "tune" / "{model}" / "{intervention}" / "{group}.log",
    benchmark:
        plan.results / "benchmarks" / "tune" / "{model}" / "{intervention}" / "{group}.tsv"
    wildcard_constraints:
        intervention=one_of(plan.text_interventions),
    threads: 1
    resources:
        gpu=lambda wildcards: gpus_of_job(plan.tuning_device(wildcards.intervention), workflow.local_exec),
        device=lambda wildcards: plan.tuning_device(wildcards.intervention),
    params:
        intervention=lambda wildcards: plan.interventions[wildcards.intervention],
        parameters=lambda wildcards: plan.parameters_json(wildcards.intervention),
        pairs=lambda wildcards: [
            f"{source}:{target}"
            for source in plan.tuning_group(wildcards.intervention, wildcards.group)
            for target in plan.targets[source]
        ],
        cache=plan.cache,
        data=lambda wildcards: [
            plan.data_digest("train", plan.tuning_group(wildcards.intervention, wildcards.group)),
            plan.data_digest("test", plan.tuning_tests(wildcards.intervention, wildcards.group)),
        ],
        other_files=lambda wildcards: plan.identities(plan.other_model_files(wildcards.intervention)),
        code=lambda wildcards: plan.code("genies.stages.tune", intervention=wildcards.intervention),
    shell:
        further("params.intervention", "params.pairs", train="input.train", test="input.test")
        + "genies --stdin --log={log:q} tune --parameters={params.parameters:q} --model={input.model:q} "
        "--tokens={input.tokens:q} --device={resources.device:q} --cache={params.cache:q} --output={output:q}"


# How many sources a job of `tune` has depends on the configuration; a rule's outputs cannot. So this one has them all.
if plan.text_interventions:

    rule gather:
        input:
            lambda wildcards: plan.tuning_manifests(wildcards.model),
        output:
            [plan.results / "evaluations" / "{model}" / f"{name}.parquet" for name in plan.tuned_sources],
            [plan.results / "interventions" / "{model}" / f"{name}.json" for name in plan.tuned_sources],
        log:
            plan.results / "logs" / "gather" / "{model}.log",
        benchmark:
            plan.results / "benchmarks" / "gather" / "{model}.tsv"
        localrule: True
        threads: 1
        params:
            cache=plan.cache,
            folder=plan.results,
            code=plan.code("genies.stages.tune"),
        shell:
            further("input") + "genies --stdin --log={log:q} gather --cache={params.cache:q} --output={params.folder:q}"


rule plugin:
    input:
        model=rules.model.output,
        tokens=rules.tokenize.output,
        programs=lambda wildcards: plan.plugin_files(wildcards.intervention),
        train=lambda wildcards: plan.distribution_file(wildcards.source, "train"),
        test=lambda wildcards: [plan.distribution_file(name, "test") for name in plan.targets[wildcards.source]],
    output:
        plan.results / "evaluations" / "{model}" / "{intervention}" / "{source}.parquet",
    log:
        plan.results / "logs" / "plugin" / "{model}" / "{intervention}" / "{source}.log",
    benchmark:
        plan.results / "benchmarks" / "plugin" / "{model}" / "{intervention}" / "{source}.tsv"
    wildcard_constraints:
        intervention=one_of(plan.plugins),
    threads: 1
    resources:
        gpu=1,
    params:
        folder=lambda wildcards: plan.plugins[wildcards.intervention],
        work=lambda wildcards: plan.results / "plugins" / wildcards.model / wildcards.intervention / wildcards.source,
        data=lambda wildcards: [
            plan.data_digest("train", [wildcards.source]),
            plan.data_digest("test", plan.targets[wildcards.source]),
        ],
        code=plan.code("genies.stages.plugin"),
    shell:
        further("params.folder", test="input.test")
        + "genies --stdin --log={log:q} plugin --model={input.model:q} --tokens={input.tokens:q} "
        "--train={input.train:q} --work={params.work:q} --output={output:q}"


rule sweep_source:
    input:
        model=rules.model.output,
        tokens=rules.tokenize.output,
        train=rules.plugin.input.train,
    output:
        plan.results / "sweep" / "{model}" / "{intervention}" / "{source}.csv",
    log:
        plan.results / "logs" / "sweep" / "{model}" / "{intervention}" / "{source}.log",
    benchmark:
        plan.results / "benchmarks" / "sweep" / "{model}" / "{intervention}" / "{source}.tsv"
    threads: 1
    resources:
        gpu=lambda wildcards: gpus_of_job(plan.tuning_device(wildcards.intervention), workflow.local_exec),
        device=lambda wildcards: plan.tuning_device(wildcards.intervention),
    params:
        intervention=rules.tune.params.intervention,
        parameters=rules.tune.params.parameters,
        values=lambda wildcards: plan.sweep_values(wildcards.intervention),
        train=plan.config.sweep.train if plan.config.sweep else None,
        held_out=plan.config.sweep.held_out if plan.config.sweep else None,
        work=subpath(output[0], strip_suffix=".csv"),
        data=lambda wildcards: plan.data_digest("train", [wildcards.source]),
        code=lambda wildcards: plan.code("genies.stages.sweep", intervention=wildcards.intervention),
    shell:
        "genies --log={log:q} sweep --parameters={params.parameters:q} --values={params.values:q} "
        "--counts {params.train:q} {params.held_out:q} --model={input.model:q} --tokens={input.tokens:q} "
        "--train={input.train:q} --device={resources.device:q} --work={params.work:q} --output={output:q} "
        "-- {params.intervention:q}"


rule sweep:
    input:
        plan.sweep_files(),
    output:
        plan.results / "sweep.csv",
    log:
        plan.results / "logs" / "sweep.log",
    localrule: True
    threads: 1
    params:
        code=plan.code("genies.stages.sweep"),
    shell:
        further("input") + "genies --stdin --log={log:q} join-sweeps --output={output:q}"
