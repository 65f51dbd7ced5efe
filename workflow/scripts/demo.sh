#!/usr/bin/env bash
# Runs a study and shows its main table; records the caches in data.dvc when something new was made.
set -euo pipefail
study=$1
caches() { find data -mindepth 2 -maxdepth 2 -not -path 'data/logs/*' -not -name '.*' 2>/dev/null | sort | cksum; }
before=$(caches || true)
snakemake --cores all --config study="$study"
if [ "$before" != "$(caches)" ]; then
  dvc add --quiet data
fi
echo
cat results/tables/main.md
echo
echo "Report: results/report.html    Curves and ablations: mlflow ui --backend-store-uri sqlite:///mlflow.db"
