"""The tables of a study as Markdown, CSV and LaTeX. In: frames with numbers. Out: text. Knows no files but their contents.

CSV holds the numbers at full precision; the others show points (per cent) with 95 % intervals.
"""

import pandas as pd

REFERENCES = ("teacher", "student")
LABELS = {"student": "untrained student", "teacher": "teacher"}


def markdown(table: pd.DataFrame) -> str:
    """A pipe table, columns as they stand."""
    header = ["| " + " | ".join(table.columns) + " |", "|" + "|".join(" --- " for _ in table.columns) + "|"]
    rows = ["| " + " | ".join(str(cell) for cell in row) + " |" for row in table.itertuples(index=False)]
    return "\n".join(header + rows) + "\n"


def latex(table: pd.DataFrame) -> str:
    """A tabular environment with booktabs rules."""
    escape = str.maketrans(
        {"%": r"\%", "&": r"\&", "_": r"\_", "#": r"\#", "−": "$-$", "Δ": r"$\Delta$", "±": r"$\pm$"}
    )
    lines = [r"\begin{tabular}{l" + "r" * (len(table.columns) - 1) + "}", r"\toprule"]
    lines.append(" & ".join(str(column).translate(escape) for column in table.columns) + r" \\")
    lines.append(r"\midrule")
    lines += [" & ".join(str(cell).translate(escape) for cell in row) + r" \\" for row in table.itertuples(index=False)]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def points(value: float) -> str:
    """A share as points, e.g. 45.2; a true minus sign, and nothing for NaN."""
    return "" if pd.isna(value) else f"{100 * value:.1f}".replace("-", "−")


def interval(value: float, low: float, high: float, signed: bool = False) -> str:
    """``45.2 [41.0, 49.3]`` in points; ``signed`` shows the plus of a gain."""
    if pd.isna(value):
        return ""
    plus = "+" if signed and value > 0 else ""
    return f"{plus}{points(value)} [{points(low)}, {points(high)}]"


def main_table(numbers: pd.DataFrame, metrics: list[str], baseline: str) -> pd.DataFrame:
    """The main table for people: one row per method, references last.

    ``numbers``: one row per method with, for each metric m, columns m, m_low, m_high, m_diff, m_diff_low, m_diff_high,
    m_p_holm; and seeds, categories ``avg:<category>``, truncated, n_tokens, student_tokens, teacher_tokens.
    """
    rows = []
    for _, row in numbers.iterrows():
        cells = {"method": LABELS.get(row["method"], row["method"]), "seeds": int(row["seeds"])}
        for metric in metrics:
            cells[metric] = interval(row[metric], row[f"{metric}_low"], row[f"{metric}_high"])
            cells[f"Δ {metric} to {baseline}"] = interval(
                row[f"{metric}_diff"], row[f"{metric}_diff_low"], row[f"{metric}_diff_high"], signed=True
            )
            p = row[f"{metric}_p_holm"]
            cells[f"p ({metric})"] = "" if pd.isna(p) else "<0.001" if p < 0.001 else f"{p:.3f}"
        for column in numbers.columns:
            if column.startswith("avg:"):
                cells[column.removeprefix("avg:")] = points(row[column])
        cells |= {
            "truncated %": points(row["truncated"]),
            "tokens / response": f"{row['n_tokens']:.1f}",
            "student tokens": tokens(row["student_tokens"]),
            "teacher tokens": tokens(row["teacher_tokens"]),
        }
        rows.append(cells)
    return pd.DataFrame(rows)


def tokens(count: float) -> str:
    """A number of tokens in thousands."""
    return "" if pd.isna(count) or count == 0 else f"{count / 1000:.0f}k"


def benchmark_table(numbers: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Methods in rows, benchmarks in columns; ``numbers``: method, benchmark, value, low, high."""
    cells = numbers.assign(cell=[interval(r.value, r.low, r.high) for r in numbers.itertuples()])
    wide = cells.pivot(index="method", columns="benchmark", values="cell")
    wide = wide.reindex(index=numbers["method"].unique(), columns=numbers["benchmark"].unique()).reset_index()
    wide["method"] = [LABELS.get(method, method) for method in wide["method"]]
    return wide.rename(columns={benchmark: f"{metric}, {benchmark}" for benchmark in numbers["benchmark"].unique()})


def grid_table(numbers: pd.DataFrame, metric: str, baseline: str) -> pd.DataFrame:
    """Points in rows; the reference rows' and the baseline's accuracy, then each method's difference to the baseline.

    ``numbers``: the main table's numbers with a column ``point``.
    """
    rows = []
    for point, group in numbers.groupby("point", sort=False):
        by_method = group.set_index("method")
        row = {"point": point}
        for method in (*REFERENCES, baseline):
            row[f"{LABELS.get(method, method)} {metric}"] = points(by_method.loc[method, metric])
        for method in by_method.index.difference([*REFERENCES, baseline], sort=False):
            low, high = by_method.loc[method, f"{metric}_diff_low"], by_method.loc[method, f"{metric}_diff_high"]
            row[f"Δ {method}"] = interval(by_method.loc[method, f"{metric}_diff"], low, high, signed=True)
        rows.append(row)
    return pd.DataFrame(rows)


def settings_table(differing: dict[str, dict[str, object]]) -> pd.DataFrame:
    """The keys in which methods differ, one row per key, one column per method."""
    return pd.DataFrame(
        [
            {"key": key} | {m: "" if v is None else str(v) for m, v in values.items()}
            for key, values in differing.items()
        ]
    )


def cost_table(cost: pd.DataFrame) -> pd.DataFrame:
    """Median wall-clock seconds per run and part; ``cost``: method, seed, part, seconds."""
    wide = cost.pivot_table(index="method", columns="part", values="seconds", aggfunc="median", sort=False).fillna(0.0)
    wide["total"] = wide.sum(axis=1)
    return wide.round(1).reset_index()


def verdict(numbers: pd.DataFrame, metric: str, method: str, baseline: str) -> str:
    """One sentence on ``method`` against ``baseline``, from the numbers alone."""
    rows = numbers[numbers["method"] == method]
    if rows.empty or pd.isna(rows.iloc[0][f"{metric}_diff"]):
        return ""
    row = rows.iloc[0]
    low, high = row[f"{metric}_diff_low"], row[f"{metric}_diff_high"]
    found = interval(row[f"{metric}_diff"], low, high, signed=True)
    if low > 0:
        judgement = f"{method} is better than {baseline} here"
    elif high < 0:
        judgement = f"{method} is worse than {baseline} here"
    else:
        judgement = f"the data do not tell {method} and {baseline} apart"
    return f"{method} minus {baseline}: {found} points {metric}; {judgement}."
