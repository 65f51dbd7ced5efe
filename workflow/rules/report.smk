# Tables with intervals and paired differences, figures, and the page that a person reads.
def evaluations(w):
    point = at(w.results)
    return [
        point.evaluation(method, seed).manifest for method, seed in point.evaluated()
    ]


rule compare:
    input:
        evaluations,
    output:
        multiext("{results}/tables/main", ".md", ".csv", ".tex"),
        "{results}/tables/manifest.json",
    log:
        "{results}/logs/compare.log",
    threads: asked("compare").cpus
    resources:
        **asked("compare").for_snakemake(),
    params:
        study=lambda w: study_of(at(w.results)),
        fingerprint=lambda w: at(w.results).comparison.fingerprint,
    shell:
        "sgopd compare {params.study} 2>&1 | tee {log:q}"


rule report:
    input:
        "{results}/tables/main.csv",
    output:
        "{results}/report.html",
        "{results}/checksums/manifest.json",
    log:
        "{results}/logs/report.log",
    threads: asked("report").cpus
    resources:
        **asked("report").for_snakemake(),
    params:
        study=lambda w: study_of(at(w.results)),
        fingerprint=lambda w: at(w.results).comparison.fingerprint,
    shell:
        "sgopd report {params.study} 2>&1 | tee {log:q}"


rule grid:
    input:
        expand("{results}/tables/main.csv", results=BY_RESULTS),
    output:
        f"{TOP}/tables/grid.md",
    log:
        f"{TOP}/logs/grid.log",
    threads: asked("grid").cpus
    resources:
        **asked("grid").for_snakemake(),
    params:
        study=f"--study {shlex.quote(str(STUDY))}",
        fingerprint=[point.comparison.fingerprint for point in POINTS],
    shell:
        "sgopd grid {params.study} 2>&1 | tee {log:q}"
