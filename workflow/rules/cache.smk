# Made once per (teacher, prompts, sampling) and shared by every run of every study.
rule prompts:
    input:
        lambda w: trained(PROMPTS[w.fingerprint], "student"),
    output:
        update("data/prompts/{fingerprint}/manifest.json"),
    params:
        study=lambda w: study_of(PROMPTS[w.fingerprint]),
    log:
        "data/logs/prompts-{fingerprint}.log",
    shell:
        "sgopd prompts {params.study} 2>&1 | tee {log:q}"


rule rollouts:
    input:
        lambda w: trained(ROLLOUTS[w.fingerprint], "teacher"),
        lambda w: ROLLOUTS[w.fingerprint].prompts.manifest,
    output:
        update("data/rollouts/{fingerprint}/manifest.json"),
    params:
        study=lambda w: study_of(ROLLOUTS[w.fingerprint]),
    log:
        "data/logs/rollouts-{fingerprint}.log",
    shell:
        "sgopd rollouts {params.study} --threads {threads} 2>&1 | tee {log:q}"


rule verdicts:
    input:
        lambda w: VERDICTS[w.fingerprint].rollouts.manifest,
    output:
        update("data/verdicts/{fingerprint}/manifest.json"),
    params:
        study=lambda w: study_of(VERDICTS[w.fingerprint]),
    log:
        "data/logs/verdicts-{fingerprint}.log",
    shell:
        "sgopd verdicts {params.study} 2>&1 | tee {log:q}"
