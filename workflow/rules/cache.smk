# Made once per (teacher, prompts, sampling) and shared by every run of every study: the study is no parameter here, so that
# another one that needs the same artefact does not make it again.
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
    shell:
        "sgopd prompts --study {STUDY:q} --fingerprint {wildcards.fingerprint} 2>&1 | tee {log:q}"


rule rollouts:
    input:
        lambda w: trained(ROLLOUTS[w.fingerprint], "teacher"),
        lambda w: made(ROLLOUTS[w.fingerprint].prompts),
    output:
        update("data/rollouts/{fingerprint}/manifest.json"),
    log:
        "data/logs/rollouts-{fingerprint}.log",
    threads: asked("rollouts").cpus
    resources:
        **asked("rollouts").for_snakemake(),
    shell:
        "{SGOPD} rollouts --study {STUDY:q} --fingerprint {wildcards.fingerprint} --threads {threads} 2>&1 | tee {log:q}"


rule verdicts:
    input:
        lambda w: made(VERDICTS[w.fingerprint].rollouts),
    output:
        update("data/verdicts/{fingerprint}/manifest.json"),
    log:
        "data/logs/verdicts-{fingerprint}.log",
    threads: asked("verdicts").cpus
    resources:
        **asked("verdicts").for_snakemake(),
    shell:
        "sgopd verdicts --study {STUDY:q} --fingerprint {wildcards.fingerprint} 2>&1 | tee {log:q}"
