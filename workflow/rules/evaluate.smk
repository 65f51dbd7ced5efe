# One job per model: every run's final student, the teacher, and the untrained student.
def evaluated_model(w):
    point = at(w.results)
    if w.method in ("teacher", "student"):
        return trained(
            point, "teacher", "student"
        )  # their tokenizers are checked against each other
    return [point.phase(w.method, int(w.seed), 3).manifest]


rule evaluate:
    input:
        evaluated_model,
        lambda w: made(at(w.results).prompts),
    output:
        update("{results}/evaluations/{method}/seed{seed}/manifest.json"),
    log:
        "{results}/logs/evaluate-{method}-seed{seed}.log",
    threads: asked("evaluate").cpus
    resources:
        **on_nodes(asked("evaluate").for_snakemake(), NODES),
    params:
        study=lambda w: study_of(at(w.results)),
        fingerprint=lambda w: at(w.results)
        .evaluation(w.method, int(w.seed))
        .fingerprint,
    shell:
        "{SGOPD_ON_NODES} evaluate --method {wildcards.method:q} --seed {wildcards.seed} {params.study} --threads {threads}"
        " 2>&1 | tee {log:q}"
