"""The study's page in MLflow: its description, and two views of its runs that need no set-up, linked from there.

In: text and names of metrics. Out: tags of the experiment. A view is what *Share* in MLflow's UI saves. Knows no client.

- ``methods``: the rows of the main table with its metrics and each method's settings as columns, the best method on top.
- ``curves``: one curve per method and metric, the mean over its seeds' runs, on the common axis of all phases.
"""

import json
from collections.abc import Sequence
from typing import Any

LONGEST = 4900  # characters of a description; MLflow's limit is 5000
BY_METHOD = {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": "method"}]}
SETTINGS = "settings"  # the tag that says how a method differs from the baseline


def study_tags(experiment: str, text: str, table: Sequence[str], curves: Sequence[str]) -> dict[str, str]:
    """Tags that show ``text`` (Markdown) below links to the views: metrics of the methods' runs, and of their seeds'."""
    methods, seeds = _sorted_by(table), _sorted_by(curves)
    methods["selectedColumns"].append(f"tags.`{SETTINGS}`")
    seeds |= {"groupBy": BY_METHOD, "useGroupedValuesInCharts": True, "chartsSearchFilter": _any_of(curves)}
    links = f"[Compare the methods]({path(experiment, 'methods')}) · [their curves]({path(experiment, 'curves')})"
    return {
        "mlflow.note.content": f"{links}\n\n{text}"[:LONGEST],
        "mlflow.sharedViewState.methods": json.dumps(methods),
        "mlflow.sharedViewState.curves": json.dumps(seeds),
    }


def path(experiment: str, view: str) -> str:
    """Address of a view, below the server's."""
    mode = "&compareRunsMode=CHART" if view == "curves" else ""
    return f"#/experiments/{experiment}/runs?workflowType=machine_learning{mode}&viewStateShareKey={view}"


def _sorted_by(metrics: Sequence[str]) -> dict[str, Any]:
    """The runs that have the first metric (not below 0), the highest on top, with all metrics as columns."""
    columns = [f"metrics.`{name}`" for name in metrics]
    return {
        "searchFilter": f"{columns[0]} >= 0", "orderByKey": columns[0], "orderByAsc": False, "selectedColumns": columns,
    }  # fmt: skip


def _any_of(names: Sequence[str]) -> str:
    """A regular expression for exactly these names."""
    return "|".join(f"^{name}$" for name in names)
