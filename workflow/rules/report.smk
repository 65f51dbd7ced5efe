# Tables with intervals and paired differences, figures, and the page that a person reads.
def evaluations(w):
    point = at(w.results)
    return [point.evaluation(method, seed).manifest for method, seed in point.evaluated()]


rule compare:
    input:
        evaluations,
    output:
        main=multiext("{results}/tables/main", ".md", ".csv", ".tex"),
    params:
        study=lambda w: study_of(at(w.results)),
        fingerprint=lambda w: at(w.results).comparison.fingerprint,
    log:
        "{results}/logs/compare.log",
    shell:
        "sgopd compare {params.study} 2>&1 | tee {log:q}"


rule report:
    input:
        "{results}/tables/main.csv",
    output:
        "{results}/report.html",
    params:
        study=lambda w: study_of(at(w.results)),
        fingerprint=lambda w: at(w.results).comparison.fingerprint,
    log:
        "{results}/logs/report.log",
    shell:
        "sgopd report {params.study} 2>&1 | tee {log:q}"


rule grid:
    input:
        expand("{results}/tables/main.csv", results=BY_RESULTS),
    output:
        f"{TOP}/tables/grid.md",
    params:
        study=f"--study '{STUDY}'",
        fingerprint=[point.comparison.fingerprint for point in POINTS],
    log:
        f"{TOP}/logs/grid.log",
    shell:
        "sgopd grid {params.study} 2>&1 | tee {log:q}"
