# The workflow, for runs in this folder. Other workflows and snakedeploy use workflow/Snakefile, which is the same.


include: "workflow/rules/common.smk"


rule all:
    input:
        plan.files.final,
        rules.provenance.input.made,
        rules.provenance.input.results,
    localrule: True
