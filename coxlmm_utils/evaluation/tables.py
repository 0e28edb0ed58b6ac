"""Tables of evaluations, laid out as the paper's, the paper's own beside them, and their export."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from ..files import atomic_write
from ..statistics import Mean
from .comparison import holm
from .evaluate import METRICS, Evaluation
from .paper import TABLE1, TABLE1_SYSTEMS, TABLE2, TABLE2_SYSTEMS
from .systems import NAMES, OURS

TESTS = ("p_paired_t", "p_wilcoxon")  # whose p-values are corrected; see `statistics.compare`
ENDS = ("mean", "low", "high")
NOTHING = "–"
SPACE = "\xa0"  # at which no line breaks


def score_numbers(evaluations: Iterable[Evaluation], top: int = 1) -> pd.DataFrame:
    """All that Table 1 shows, as numbers, for a file or another figure (ours)."""
    rows = []
    for evaluation in evaluations:
        for metric in METRICS:
            per_picture = evaluation.per_picture(metric, top)
            for system, scores in per_picture.items():
                row = {"token": evaluation.token, "metric": metric, "system": system}
                row |= _numbers(evaluation.mean(system, metric, top), pd.Series(scores))
                rows.append(row | {"seed_std": evaluation.seed_spread(system, metric, top)})
    return pd.DataFrame(rows)


def overlap_numbers(evaluations: Iterable[Evaluation]) -> pd.DataFrame:
    """All that Table 2 shows, as numbers: token, system, mean, low, high (over concepts), std, n, n_missing (ours).

    `n_missing` are the concepts that have no words left, and so no overlap.
    """
    rows = []
    for evaluation in evaluations:
        for system, concepts in evaluation.concepts.groupby("system"):
            row = {"token": evaluation.token, "system": system}
            rows.append(row | _numbers(evaluation.overlap(system), concepts["overlap"]))
    return pd.DataFrame(rows)


def table1(evaluations: Sequence[Evaluation], top: int = 1, systems: Sequence[str] = TABLE1_SYSTEMS) -> pd.DataFrame:
    """The paper's Table 1 for other tokens: mean ± standard deviation over pictures, and the mean's interval (ours).

    Parameters
    ----------
    evaluations : sequence of Evaluation
        One for each token.
    top : {1, 3}
        The paper's is of each picture's most active concept; 3 averages the three most active.
    systems : sequence of str
        Its columns, in this order; default: the paper's. `systems.NAMES` lists all.

    Returns
    -------
    pandas.DataFrame
        Text. Rows (token, metric); the best but GT-captions of each row is marked by a star.
    """
    numbers = score_numbers(evaluations, top)
    numbers = numbers[numbers["system"].isin(systems)]
    scored = numbers[numbers["system"] != "gt_captions"].dropna(subset="mean")
    best = set(scored.groupby(["token", "metric"])["mean"].idxmax())
    numbers["cell"] = [_cell(row, row.Index in best) for row in numbers.itertuples()]
    numbers["metric"] = numbers["metric"].map(METRICS)
    return _laid_out(numbers, ["token", "metric"], systems)


def table2(evaluations: Sequence[Evaluation], systems: Sequence[str] = TABLE2_SYSTEMS) -> pd.DataFrame:
    """The paper's Table 2 for other tokens: overlap, lower is better, with its interval over concepts (ours)."""
    numbers = overlap_numbers(evaluations)
    numbers = numbers[numbers["system"].isin(systems)]
    best = set(numbers.dropna(subset="mean").groupby("token")["mean"].idxmin())
    numbers["cell"] = [_cell(row, row.Index in best, std=False) for row in numbers.itertuples()]
    return _laid_out(numbers, ["token"], systems)


def paper_table1() -> pd.DataFrame:
    """The paper's Table 1 as printed: DePALM on COCO, mean ± standard deviation; nothing of it is ours."""
    rows = {
        (token, METRICS[metric]): [f"{mean:.3f} ± {std:.2f}" for mean, std in cells]
        for (token, metric), cells in TABLE1.items()
    }
    names = [NAMES[system] for system in TABLE1_SYSTEMS]
    return pd.DataFrame.from_dict(rows, orient="index", columns=names).pipe(_indexed, ["token", "metric"])


def paper_table2() -> pd.DataFrame:
    """The paper's Table 2 as printed: DePALM on COCO, overlap; nothing of it is ours."""
    names = [NAMES[system] for system in TABLE2_SYSTEMS]
    rows = {token: [f"{value:.3f}" for value in cells] for token, cells in TABLE2.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=names).rename_axis("token")


def comparisons(evaluations: Iterable[Evaluation], top: int = 1) -> pd.DataFrame:
    """Semi-NMF against every other system on the same pictures, all tokens and metrics (ours, with the paper's test)."""
    parts = {}
    for evaluation in evaluations:
        for metric in METRICS:
            if evaluation.mean("semi_nmf", metric, top) is not None:
                parts[evaluation.token, metric] = evaluation.compare(metric, top)
    table = pd.concat(parts, names=["token", "metric"])
    for test in TESTS:
        table[f"{test}_holm"] = holm(table[test])
    return table


def differences(compared: pd.DataFrame, alpha: float = 0.05) -> pd.DataFrame:
    """What `comparisons` says, in short: Semi-NMF minus each other system, with its interval (ours)."""
    rows = compared.reset_index().rename(columns={"other": "system"})
    rows["cell"] = [
        f"{row.difference:+.3f} [{row.low:z.3f},{SPACE}{row.high:z.3f}]"
        + ("" if row.p_paired_t_holm < alpha else f"{SPACE}(n.s.)")
        for row in rows.itertuples()
    ]
    rows["metric"] = rows["metric"].map(METRICS)
    return _laid_out(rows, ["token", "metric"], [name for name in NAMES if name in set(rows["system"])])


def save_table(table: pd.DataFrame, path: str | Path, caption: str = "") -> None:
    """Export a table to CSV and LaTeX."""
    path = Path(path)
    escaped = table.rename(columns=_latex, index=_latex).map(_latex)
    escaped.index.names = [_latex(name or "") for name in table.index.names]
    style = escaped.style.format(_number, na_rep=NOTHING.replace("–", "--"))
    latex = style.to_latex(
        hrules=True, multirow_align="naive", caption=_latex(caption) or None, position_float="centering"
    )
    plain = table.map(lambda value: value.replace(SPACE, " ") if isinstance(value, str) else value)
    atomic_write(path.with_name(path.name + ".csv"), lambda file: plain.to_csv(file))
    atomic_write(path.with_name(path.name + ".tex"), lambda file: file.write_text(latex, encoding="utf-8"))


def _numbers(mean: Mean | None, values: pd.Series) -> dict:
    """A mean as columns of a table; NaN where there are too few values for one."""
    ends = {"mean": mean.value, "low": mean.low, "high": mean.high} if mean else dict.fromkeys(ENDS, float("nan"))
    return {**ends, "std": values.std(), "n": int(values.notna().sum()), "n_missing": int(values.isna().sum())}


def _cell(row, best: bool, std: bool = True) -> str:
    """A mean as text: 0.610 ± 0.09* [0.598, 0.622], with a star if it is the best."""
    if pd.isna(row.mean):
        return NOTHING
    spread = f"{SPACE}±{SPACE}{row.std:.2f}" if std else ""
    return f"{row.mean:z.3f}{spread}{'*' if best else ''} [{row.low:z.3f},{SPACE}{row.high:z.3f}]"


def _laid_out(numbers: pd.DataFrame, rows: list[str], systems: Sequence[str]) -> pd.DataFrame:
    """Cells with systems as columns, under their names; ours say so."""
    table = numbers.pivot_table("cell", rows, "system", aggfunc="first", sort=False)
    names = {name: NAMES[name] + (" (ours)" if name in OURS else "") for name in systems}
    return (
        table.reindex(columns=[name for name in systems if name in table])
        .rename(columns=names)
        .rename_axis(columns=None)
    )


def _indexed(table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """The same table with its tuples as levels of rows."""
    return table.set_axis(pd.MultiIndex.from_tuples(table.index, names=names))


def _number(value) -> str:
    """A number with four digits behind the point, a tiny one (most p-values are) by its power of ten; else text."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.1e}" if 0 < abs(value) < 5e-5 else f"{value:.4f}"


def _latex(value):
    """Text with LaTeX's own signs escaped, and ours written in LaTeX; numbers as they are."""
    if not isinstance(value, str):
        return value
    for sign, latex in (("\\", "\\textbackslash "), *((sign, "\\" + sign) for sign in "&%$#_{}")):
        value = value.replace(sign, latex)
    for sign, latex in (
        ("±", "$\\pm$"),
        ("–", "--"),
        ("~", "\\textasciitilde "),
        ("^", "\\textasciicircum "),
        (SPACE, "~"),
    ):
        value = value.replace(sign, latex)
    return value
