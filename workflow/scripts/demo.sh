#!/usr/bin/env bash
# Runs a study and shows its main table; records the caches in data.dvc when something new was made.
set -euo pipefail
study=$1
before=$(ls -d data/*/* 2>/dev/null | sort | cksum)
snakemake --cores all --config study="$study"
if [ "$before" != "$(ls -d data/*/* 2>/dev/null | sort | cksum)" ]; then
  dvc add --quiet data
fi
echo
cat results/tables/main.md
echo
echo "Report: results/report.html    Curves and ablations: mlflow ui --backend-store-uri sqlite:///mlflow.db"
