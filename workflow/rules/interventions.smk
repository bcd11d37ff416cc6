# Interventions, fitted on the training pairs of every source and tested on all pairs of its targets. A fit is kept in
# the cache by digest.


rule probe:
    input:
        train=plan.data.train(plan.selection.fitted_on),
        test=plan.data.test(plan.selection.tested),
        activations=[results / "activations" / "{model}" / f"{batch}.json" for batch in plan.jobs.batches],
        reference=lambda wildcards: plan.reference_activations(wildcards.model, wildcards.intervention),
    output:
        [
            results / "evaluations" / "{model}" / "{intervention}" / f"{source}.parquet"
            for source in plan.selection.fitted_on
        ],
        fits=results / "interventions" / "{model}" / "{intervention}.json",
    log:
        results / "logs" / "probe" / "{model}" / "{intervention}.log",
    benchmark:
        results / "benchmarks" / "probe" / "{model}" / "{intervention}.tsv"
    wildcard_constraints:
        intervention=one_of(plan.roles.with_jobs),
    threads: 1
    resources:
        mem_mb=4000,
    params:
        intervention=lambda wildcards: plan.methods.specs[wildcards.intervention],
        parameters=lambda wildcards: parameters_json(plan.methods, wildcards.intervention),
        pairs=plan.selection.probe_pairs,
        folder=subpath(output[0], parent=True),
        cache=cache,
        data=[plan.data.digest("train", plan.selection.fitted_on), plan.data.digest("test", plan.selection.tested)],
        code=lambda wildcards: plan.code("genies.stages.probe", intervention=wildcards.intervention),
    shell:
        further(
            "params.intervention",
            "params.pairs",
            train="input.train",
            test="input.test",
            activations="input.activations",
            reference="input.reference",
        )
        + "genies --stdin --log={log:q} probe --parameters={params.parameters:q} --cache={params.cache:q} "
        "--fits={output.fits:q} --output={params.folder:q}"


# Chance and surface baselines, which read neither the model nor its features.
if plan.roles.featureless:

    rule surface:
        input:
            train=rules.probe.input.train,
            test=rules.probe.input.test,
            activations=rules.probe.input.activations,
        output:
            [results / "interventions" / "{model}" / f"{name}.json" for name in plan.roles.featureless],
            [
                results / "evaluations" / "{model}" / name / f"{source}.parquet"
                for name in plan.roles.featureless
                for source in plan.selection.fitted_on
            ],
        log:
            results / "logs" / "surface" / "{model}.log",
        benchmark:
            results / "benchmarks" / "surface" / "{model}.tsv"
        threads: 1
        params:
            pairs=plan.selection.probe_pairs,
            baselines=interventions_json(plan.methods, plan.roles.featureless),
            cache=cache,
            folder=results,
            data=rules.probe.params.data,
            code=[plan.code("genies.stages.surface", intervention=name) for name in plan.roles.featureless],
        shell:
            further("params.pairs", train="input.train", test="input.test", activations="input.activations")
            + "genies --stdin --log={log:q} surface --baselines={params.baselines:q} --model={wildcards.model:q} "
            "--cache={params.cache:q} --output={params.folder:q}"


rule nulls:
    input:
        train=rules.probe.input.train,
        test=rules.probe.input.test,
        activations=rules.probe.input.activations,
    output:
        plan.files.analysis("nulls", "{model}"),
    log:
        results / "logs" / "nulls" / "{model}.log",
    benchmark:
        results / "benchmarks" / "nulls" / "{model}.tsv"
    threads: 1
    resources:
        mem_mb=4000,
    params:
        pairs=plan.selection.shift_pairs,
        probes=lambda wildcards: interventions_json(plan.methods, plan.roles.analysed("nulls", wildcards.model)),
        repeats=plan.config.permutations,
        cache=cache,
        folder=subpath(output[0], parent=True),
        data=rules.probe.params.data,
        code=[plan.code("genies.stages.nulls", intervention=name) for name in plan.roles.with_sites],
    shell:
        further("params.pairs", train="input.train", test="input.test", activations="input.activations")
        + "genies --stdin --log={log:q} nulls --probes={params.probes:q} --model={wildcards.model:q} "
        "--repeats={params.repeats:q} --cache={params.cache:q} --output={params.folder:q}"


rule learning_curves:
    input:
        train=rules.probe.input.train,
        activations=rules.probe.input.activations,
        test=plan.data.test(plan.selection.tested),
    output:
        plan.files.analysis("learning_curves", "{model}"),
    log:
        results / "logs" / "learning_curves" / "{model}.log",
    benchmark:
        results / "benchmarks" / "learning_curves" / "{model}.tsv"
    threads: 1
    resources:
        mem_mb=8000,
    params:
        pairs=plan.selection.learning_pairs,
        probes=lambda wildcards: interventions_json(
            plan.methods, plan.roles.analysed("learning_curves", wildcards.model)
        ),
        sizes=plan.config.learning_curves.sizes if plan.config.learning_curves else None,
        draws=plan.config.learning_curves.draws if plan.config.learning_curves else None,
        cache=cache,
        folder=subpath(output[0], parent=True),
        data=[plan.data.digest("train", plan.selection.fitted_on), plan.data.digest("test", plan.selection.tested)],
        code=lambda wildcards: [
            plan.code("genies.stages.curves", intervention=name)
            for name in plan.roles.analysed("learning_curves", wildcards.model)
        ],
    shell:
        further("params.pairs", train="input.train", test="input.test", activations="input.activations")
        + "genies --stdin --log={log:q} learning-curves --probes={params.probes:q} --model={wildcards.model:q} "
        "--sizes {params.sizes:q} --draws={params.draws:q} --cache={params.cache:q} --output={params.folder:q}"


rule few_labels:
    input:
        train=lambda wildcards: plan.data.train([wildcards.source, *plan.selection.own_targets(wildcards.source)]),
        activations=rules.probe.input.activations,
        test=lambda wildcards: plan.data.test(plan.selection.own_targets(wildcards.source)),
    output:
        plan.files.analysis("few_labels", "{model}"),
    log:
        results / "logs" / "few_labels" / "{model}" / "{source}.log",
    benchmark:
        results / "benchmarks" / "few_labels" / "{model}" / "{source}.tsv"
    # The longest jobs on stored activations: begun last, the largest source would run alone at the end.
    priority: 1
    threads: 1
    resources:
        mem_mb=8000,
    params:
        pairs=lambda wildcards: own_pairs(plan.selection.shift_pairs, wildcards.source),
        probes=lambda wildcards: interventions_json(plan.methods, plan.roles.analysed("few_labels", wildcards.model)),
        counts=plan.config.few_labels.counts if plan.config.few_labels else None,
        draws=plan.config.few_labels.draws if plan.config.few_labels else None,
        copies=plan.config.few_labels.copies if plan.config.few_labels else None,
        cache=cache,
        folder=subpath(output[0], parent=True),
        data=lambda wildcards: [
            plan.data.digest("train", [wildcards.source, *plan.selection.own_targets(wildcards.source)]),
            plan.data.digest("test", plan.selection.own_targets(wildcards.source)),
        ],
        code=lambda wildcards: [
            plan.code("genies.stages.few_labels", intervention=name)
            for name in plan.roles.analysed("few_labels", wildcards.model)
        ],
    shell:
        further("params.pairs", train="input.train", test="input.test", activations="input.activations")
        + "genies --stdin --log={log:q} few-labels --probes={params.probes:q} --model={wildcards.model:q} "
        "--counts {params.counts:q} --draws={params.draws:q} --copies={params.copies:q} "
        "--cache={params.cache:q} --output={params.folder:q}"


rule wordings:
    input:
        train=rules.probe.input.train,
        activations=rules.probe.input.activations,
        test=plan.data.test(plan.selection.tested),
    output:
        plan.files.analysis("wordings", "{model}"),
    log:
        results / "logs" / "wordings" / "{model}.log",
    benchmark:
        results / "benchmarks" / "wordings" / "{model}.tsv"
    threads: 1
    resources:
        mem_mb=8000,
    params:
        pairs=plan.selection.learning_pairs,
        probes=lambda wildcards: interventions_json(plan.methods, plan.roles.analysed("wordings", wildcards.model)),
        wordings=plan.config.wordings,
        templates=plan.templates(),
        cache=cache,
        folder=subpath(output[0], parent=True),
        data=[plan.data.digest("train", plan.selection.fitted_on), plan.data.digest("test", plan.selection.tested)],
        code=lambda wildcards: [
            plan.code("genies.stages.wordings", intervention=name)
            for name in plan.roles.analysed("wordings", wildcards.model)
        ],
    shell:
        further("params.pairs", train="input.train", test="input.test", activations="input.activations")
        + "genies --stdin --log={log:q} wordings --probes={params.probes:q} --model={wildcards.model:q} "
        "--wordings={params.wordings:q} --cache={params.cache:q} --output={params.folder:q}"


rule tune:
    input:
        model=described,
        tokens=rules.tokenize.output,
        train=lambda wildcards: plan.data.train(plan.jobs.group(wildcards.intervention, wildcards.group)),
        test=lambda wildcards: plan.data.test(plan.jobs.tests(wildcards.intervention, wildcards.group)),
        others=lambda wildcards: plan.other_model_files(wildcards.intervention),
    output:
        results / "interventions" / "{model}" / "{intervention}" / "groups" / "{group}.json",
    log:
        results / "logs" / "tune" / "{model}" / "{intervention}" / "{group}.log",
    benchmark:
        results / "benchmarks" / "tune" / "{model}" / "{intervention}" / "{group}.tsv"
    wildcard_constraints:
        intervention=one_of(plan.methods.texts),
    threads: 1
    resources:
        gpu=lambda wildcards: gpus_of_job(plan.jobs.device(wildcards.intervention), workflow.local_exec),
        device=lambda wildcards: plan.jobs.device(wildcards.intervention),
    params:
        intervention=lambda wildcards: plan.methods.specs[wildcards.intervention],
        parameters=lambda wildcards: parameters_json(plan.methods, wildcards.intervention),
        pairs=lambda wildcards: plan.jobs.pairs(wildcards.intervention, wildcards.group),
        cache=cache,
        data=lambda wildcards: [
            plan.data.digest("train", plan.jobs.group(wildcards.intervention, wildcards.group)),
            plan.data.digest("test", plan.jobs.tests(wildcards.intervention, wildcards.group)),
        ],
        other_files=lambda wildcards: plan.models.identities(plan.other_model_files(wildcards.intervention)),
        code=lambda wildcards: plan.code("genies.stages.tune", intervention=wildcards.intervention),
    shell:
        further("params.intervention", "params.pairs", train="input.train", test="input.test")
        + "genies --stdin --log={log:q} tune --parameters={params.parameters:q} --model={input.model:q} "
        "--tokens={input.tokens:q} --device={resources.device:q} --cache={params.cache:q} --output={output:q}"


# How many sources a job of `tune` has depends on the configuration; a rule's outputs cannot. So this one has them all.
if plan.methods.texts:

    rule gather:
        input:
            lambda wildcards: plan.fits.trainings(wildcards.model),
        output:
            [results / "evaluations" / "{model}" / f"{name}.parquet" for name in plan.jobs.trainings],
            [results / "interventions" / "{model}" / f"{name}.json" for name in plan.jobs.trainings],
        log:
            results / "logs" / "gather" / "{model}.log",
        benchmark:
            results / "benchmarks" / "gather" / "{model}.tsv"
        localrule: True
        threads: 1
        params:
            cache=cache,
            folder=results,
            code=plan.code("genies.stages.gather"),
        shell:
            further("input") + "genies --stdin --log={log:q} gather --cache={params.cache:q} --output={params.folder:q}"


rule plugin:
    input:
        model=described,
        tokens=rules.tokenize.output,
        programs=lambda wildcards: plan.methods.plugin_files(wildcards.intervention),
        train=lambda wildcards: plan.data.file(wildcards.source, "train"),
        test=lambda wildcards: plan.data.test(plan.selection.targets[wildcards.source]),
    output:
        results / "evaluations" / "{model}" / "{intervention}" / "{source}.parquet",
    log:
        results / "logs" / "plugin" / "{model}" / "{intervention}" / "{source}.log",
    benchmark:
        results / "benchmarks" / "plugin" / "{model}" / "{intervention}" / "{source}.tsv"
    wildcard_constraints:
        intervention=one_of(plan.methods.plugins),
    threads: 1
    resources:
        gpu=1,
    params:
        folder=lambda wildcards: plan.methods.plugins[wildcards.intervention],
        cache=cache,
        work=lambda wildcards: plan.evaluations.plugin(wildcards.model, wildcards.intervention, wildcards.source),
        data=lambda wildcards: [
            plan.data.digest("train", [wildcards.source]),
            plan.data.digest("test", plan.selection.targets[wildcards.source]),
        ],
        code=plan.code("genies.stages.plugin"),
    shell:
        further("params.folder", test="input.test")
        + "genies --stdin --log={log:q} plugin --model={input.model:q} --tokens={input.tokens:q} "
        "--train={input.train:q} --work={params.work:q} --cache={params.cache:q} --output={output:q}"


rule sweep_source:
    input:
        model=described,
        tokens=rules.tokenize.output,
        train=rules.plugin.input.train,
    output:
        results / "sweep" / "{model}" / "{intervention}" / "{source}.csv",
    log:
        results / "logs" / "sweep" / "{model}" / "{intervention}" / "{source}.log",
    benchmark:
        results / "benchmarks" / "sweep_source" / "{model}" / "{intervention}" / "{source}.tsv"
    threads: 1
    resources:
        gpu=lambda wildcards: gpus_of_job(plan.jobs.device(wildcards.intervention), workflow.local_exec),
        device=lambda wildcards: plan.jobs.device(wildcards.intervention),
    params:
        intervention=rules.tune.params.intervention,
        parameters=rules.tune.params.parameters,
        values=lambda wildcards: sweep_json(plan.config, wildcards.intervention),
        train=plan.config.sweep.train if plan.config.sweep else None,
        held_out=plan.config.sweep.held_out if plan.config.sweep else None,
        work=subpath(output[0], strip_suffix=".csv"),
        data=lambda wildcards: plan.data.digest("train", [wildcards.source]),
        code=lambda wildcards: plan.code("genies.stages.sweep", intervention=wildcards.intervention),
    shell:
        "genies --log={log:q} sweep --parameters={params.parameters:q} --values={params.values:q} "
        "--counts {params.train:q} {params.held_out:q} --model={input.model:q} --tokens={input.tokens:q} "
        "--train={input.train:q} --device={resources.device:q} --work={params.work:q} --output={output:q} "
        "-- {params.intervention:q}"


rule sweep:
    input:
        plan.files.sweeps(),
    output:
        results / "sweep.csv",
    log:
        results / "logs" / "sweep.log",
    localrule: True
    threads: 1
    params:
        code=plan.code("genies.stages.sweep"),
    shell:
        further("input") + "genies --stdin --log={log:q} join-sweeps --output={output:q}"
