# Directions of sources: compared and erased in what is stored, and tried in passes of the model.


rule directions:
    input:
        train=rules.probe.input.train,
        activations=rules.probe.input.activations,
        test=plan.data.test(plan.selection.tested),
    output:
        plan.files.analysis("directions", "{model}"),
    log:
        results / "logs" / "directions" / "{model}.log",
    benchmark:
        results / "benchmarks" / "directions" / "{model}.tsv"
    threads: 1
    resources:
        mem_mb=4000,
    params:
        pairs=plan.selection.shift_pairs,
        probes=lambda wildcards: interventions_json(
            plan.methods, plan.methods.on(wildcards.model, plan.roles.with_directions)
        ),
        seed=plan.config.seed,
        cache=cache,
        folder=subpath(output[0], parent=True),
        data=[plan.data.digest("train", plan.selection.fitted_on), plan.data.digest("test", plan.selection.tested)],
        code=[
            plan.code("genies.stages.directions"),
            *(plan.code("genies.stages.directions", intervention=name) for name in plan.roles.with_directions),
        ],
    shell:
        further("params.pairs", train="input.train", test="input.test", activations="input.activations")
        + "genies --stdin --log={log:q} directions --probes={params.probes:q} --model={wildcards.model:q} "
        "--seed={params.seed:q} --cache={params.cache:q} --output={params.folder:q}"


rule causal:
    input:
        model=described,
        train=plan.data.train(plan.selection.sources),
        activations=rules.probe.input.activations,
        test=plan.data.test(plan.selection.tested),
    output:
        plan.files.analysis("causal", "{model}"),
    log:
        results / "logs" / "causal" / "{model}.log",
    benchmark:
        results / "benchmarks" / "causal" / "{model}.tsv"
    threads: 8
    resources:
        gpu=gpus_of_job(plan.config.extraction.device, workflow.local_exec),
        how=" ".join(flags(plan.config.extraction, decides=False)),
    params:
        pairs=plan.selection.learning_pairs,
        texts=plan.config.causal.texts if plan.config.causal else None,
        strengths=plan.config.causal.strengths if plan.config.causal else None,
        draws=plan.config.causal.draws if plan.config.causal else None,
        seed=plan.config.seed,
        extraction=flags(plan.config.extraction, decides=True),
        cache=cache,
        folder=subpath(output[0], parent=True),
        data=[plan.data.digest("train", plan.selection.sources), plan.data.digest("test", plan.selection.tested)],
        code=plan.code("genies.stages.causal"),
    shell:
        further("params.pairs", train="input.train", test="input.test", activations="input.activations")
        + "genies --stdin --log={log:q} causal --model={input.model:q} --texts={params.texts:q} "
        "--strengths {params.strengths:q} --draws={params.draws:q} --seed={params.seed:q} {params.extraction:q} "
        "{resources.how} --cache={params.cache:q} --output={params.folder:q}"
