# The report: one page that works offline.


rule report:
    input:
        rules.metrics.output,
        rules.records.output,
        sweep=rules.sweep.output if plan.config.sweep else [],
        models=expand(rules.model.output, model=plan.models),
    output:
        plan.results / "report.html",
    log:
        plan.results / "logs" / "report.log",
    benchmark:
        plan.results / "benchmarks" / "report.tsv"
    threads: 1
    params:
        folder=plan.results,
        title=plan.config.run,
        config=plan.config.model_dump_json(),
        code=plan.code("genies.report.page"),
    shell:
        "genies --log {log} report {params.folder:q} --title {params.title:q} --config {params.config:q} "
        "--models {input.models:q} --output {output:q}"
