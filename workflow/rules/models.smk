# The embedded teacher and student. Studies with hub models have no such jobs.
rule model:
    output:
        update("data/models/{fingerprint}/manifest.json"),
    log:
        "data/logs/model-{fingerprint}.log",
    threads: asked("model").cpus
    resources:
        **asked("model").for_snakemake(),
    params:
        role=lambda w: MODELS[w.fingerprint][1],
    shell:
        "sgopd model {params.role} --study {STUDY:q} --fingerprint {wildcards.fingerprint} --threads {threads}"
        " 2>&1 | tee {log:q}"
