# One job per phase: I cold start, II annealing, III pure on-policy; each starts from the weights of the one before.
def phase_inputs(w):
    point, phase = at(w.results), int(w.phase)
    inputs = [point.prompts]
    if uses_cache(point.study.runs[w.method]):
        inputs.append(point.verdicts)
    cached = [*made(*inputs), *trained(point, "teacher", "student")]
    return (
        cached
        if phase == 1
        else [point.phase(w.method, int(w.seed), phase - 1).manifest, *cached]
    )


rule distil:
    input:
        phase_inputs,
    output:
        update("{results}/runs/{method}/seed{seed}/phase{phase}/manifest.json"),
    log:
        "{results}/logs/{method}-seed{seed}-phase{phase}.log",
    threads: asked("distil").cpus
    resources:
        **on_nodes(asked("distil").for_snakemake(), NODES),
    params:
        study=lambda w: study_of(at(w.results)),
        fingerprint=lambda w: at(w.results)
        .phase(w.method, int(w.seed), int(w.phase))
        .fingerprint,
    shell:
        "{SGOPD_ON_NODES} distil --method {wildcards.method:q} --seed {wildcards.seed} --phase {wildcards.phase}"
        " {params.study} --threads {threads} 2>&1 | tee {log:q}"
