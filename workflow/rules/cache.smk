# Made once per (teacher, prompts, sampling) and shared by every run of every study.
rule prompts:
    input:
        lambda w: trained(PROMPTS[w.fingerprint], "student"),
    output:
        update("data/prompts/{fingerprint}/manifest.json"),
    log:
        "data/logs/prompts-{fingerprint}.log",
    threads: asked("prompts").cpus
    resources:
        **asked("prompts").for_snakemake(),
    params:
        study=lambda w: study_of(PROMPTS[w.fingerprint]),
    shell:
        "sgopd prompts {params.study} 2>&1 | tee {log:q}"


rule rollouts:
    input:
        lambda w: trained(ROLLOUTS[w.fingerprint], "teacher"),
        lambda w: ROLLOUTS[w.fingerprint].prompts.manifest,
    output:
        update("data/rollouts/{fingerprint}/manifest.json"),
    log:
        "data/logs/rollouts-{fingerprint}.log",
    threads: asked("rollouts").cpus
    resources:
        **asked("rollouts").for_snakemake(),
    params:
        study=lambda w: study_of(ROLLOUTS[w.fingerprint]),
    shell:
        "sgopd rollouts {params.study} --threads {threads} 2>&1 | tee {log:q}"


rule verdicts:
    input:
        lambda w: VERDICTS[w.fingerprint].rollouts.manifest,
    output:
        update("data/verdicts/{fingerprint}/manifest.json"),
    log:
        "data/logs/verdicts-{fingerprint}.log",
    threads: asked("verdicts").cpus
    resources:
        **asked("verdicts").for_snakemake(),
    params:
        study=lambda w: study_of(VERDICTS[w.fingerprint]),
    shell:
        "sgopd verdicts {params.study} 2>&1 | tee {log:q}"
