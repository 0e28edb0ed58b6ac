"""Tables of evaluations, laid out as the paper's, the paper's own beside them, and their export."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ..files import atomic_write
from ..statistics import Mean
from .comparison import holm
from .evaluate import METRICS, Evaluation, Top
from .paper import (
    POPE,
    POPE_METHODS,
    SAFETY,
    SAFETY_METHODS,
    STEERING,
    STEERING_COLUMNS,
    TABLE1,
    TABLE1_SYSTEMS,
    TABLE2,
    TABLE2_SYSTEMS,
)
from .systems import NAMES, heading

TESTS = ("p_paired_t", "p_wilcoxon")  # whose p-values are corrected; see `statistics.compare`
ENDS = ("mean", "low", "high")
NOTHING = "–"
SPACE = "\xa0"  # at which no line breaks


def score_numbers(
    evaluations: Iterable[Evaluation], top: Top = 1, systems: Sequence[str] = tuple(NAMES)
) -> pd.DataFrame:
    """All that Table 1 shows, as numbers, for a file or another figure (ours).

    Columns: token, metric, system, then mean, low, high (over seeds and pictures), std (over pictures, of each seed,
    averaged), n, n_missing (pictures), n_seeds, seed_min, seed_max, seed_std (of the seeds' means).
    """
    rows = []
    for evaluation in evaluations:
        for metric in METRICS:
            for system, scores in evaluation.per_seed(metric, top).items():
                if system in systems:
                    row = {"token": evaluation.token, "metric": metric, "system": system}
                    row |= _numbers(evaluation.mean(system, metric, top), scores, scores[0])
                    rows.append(row | _seeds(evaluation.seed_means(system, metric, top)))
    return pd.DataFrame(rows)


def overlap_numbers(evaluations: Iterable[Evaluation], systems: Sequence[str] = tuple(NAMES)) -> pd.DataFrame:
    """All that Table 2 shows, as numbers; columns as in `score_numbers`, of concepts in the place of pictures (ours).

    `n_missing` are the concepts that have no words left, and so no overlap.
    """
    rows = []
    for evaluation in evaluations:
        for system in evaluation.concepts["system"].unique():
            if system in systems:
                row, values = {"token": evaluation.token, "system": system}, evaluation.overlaps(system)
                row |= _numbers(evaluation.overlap(system), values, np.concatenate(values))
                rows.append(row | _seeds(evaluation.seed_means(system, "overlap")))
    return pd.DataFrame(rows)


def table1(evaluations: Sequence[Evaluation], top: Top = 1, systems: Sequence[str] = TABLE1_SYSTEMS) -> pd.DataFrame:
    """The paper's Table 1 for other tokens: mean ± standard deviation over pictures, and the mean's interval (ours).

    Parameters
    ----------
    evaluations : sequence of Evaluation
        One for each token.
    top : {1, 3, "union"}
        The paper's is of each picture's most active concept; 3 averages the scores of the three most active; "union"
        scores the words of the three as one list (ours).
    systems : sequence of str
        Its columns, in this order; default: the paper's. `systems.NAMES` lists all.

    Returns
    -------
    pandas.DataFrame
        Text. Rows (token, metric); a star marks the highest mean but GT-captions' of each row, among the columns shown,
        significant or not. Where there are several seeds, the column says how many, and the cell what the lowest and
        the highest of their means are.
    """
    numbers = score_numbers(evaluations, top, systems)
    scored = numbers[numbers["system"] != "gt_captions"].dropna(subset="mean")
    best = set(scored.groupby(["token", "metric"])["mean"].idxmax())
    numbers["cell"] = [_cell(row, row.Index in best) for row in numbers.itertuples()]
    numbers["metric"] = numbers["metric"].map(METRICS)
    return _laid_out(numbers, ["token", "metric"], systems)


def table2(evaluations: Sequence[Evaluation], systems: Sequence[str] = TABLE2_SYSTEMS) -> pd.DataFrame:
    """The paper's Table 2 for other tokens: overlap, lower is better, with an interval over seeds and concepts.

    The interval takes concepts for independent, though each overlaps with the others. Of "pca" both sides of an axis
    are concepts (ours); "pca_released" has the words of +u only.
    """
    numbers = overlap_numbers(evaluations, systems)
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
    names = [NAMES[system].split(",")[0] for system in TABLE2_SYSTEMS]  # which side of PCA's is ours to say
    rows = {token: [f"{value:.3f}" for value in cells] for token, cells in TABLE2.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=names).rename_axis("token")


def paper_steering() -> pd.DataFrame:
    """The steering paper's table of answers as printed (arXiv 2501.03012): LLaVA-1.5 on VQAv2; nothing of it is ours."""
    cells = [
        [*(f"{value:.2f}" for value in row[:3]), *("" if n is None else f"{n:+d}" for n in row[3:])]
        for row in STEERING.values()
    ]
    return pd.DataFrame(cells, list(STEERING), list(STEERING_COLUMNS)).rename_axis("steering")


def paper_learned_steering() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables of Learning to Steer as printed (arXiv 2508.12815), LLaVA-1.5: MM-SafetyBench, and POPE's accuracy in per cent.

    Its "F1" on POPE is left out: it is 2 accuracy / (1 + accuracy), since its code takes every label for yes.
    """
    parts = (SAFETY, SAFETY_METHODS, "MM-SafetyBench"), (POPE, POPE_METHODS, "POPE, accuracy")
    return tuple(pd.DataFrame(rows, methods).T.rename_axis(name) for rows, methods, name in parts)


def beside_the_paper(ours: pd.DataFrame, paper: pd.DataFrame) -> pd.DataFrame:
    """Table 1 or 2 for other tokens with the paper's rows, where it has the token, above ours; each row says whose it is.

    `ours` is of the systems of `paper`, under whose names the columns stand.
    """
    ours, rows = ours.rename(columns=lambda name: name.split(",")[0]), {}
    printed = {(str(key[0]).lower(), *key[1:]): row for key, row in zip(_keys(paper), paper.to_dict("records"))}
    for key, row in zip(_keys(ours), ours.to_dict("records")):
        if (known := (key[0].lower(), *key[1:])) in printed:
            rows[*key, "paper"] = printed[known]
        rows[*key, "ours"] = row
    table = pd.DataFrame.from_dict(rows, orient="index", columns=list(paper.columns)).fillna(NOTHING)
    return _indexed(table, [*ours.index.names, "whose"])


def union_lengths(evaluations: Iterable[Evaluation], systems: Sequence[str] = tuple(NAMES)) -> pd.DataFrame:
    """Mean number of distinct words in the list of a picture's three concepts (ours): a longer list can say more.

    Rows tokens, columns systems; over pictures, and seeds where there are several.
    """
    rows = pd.concat([evaluation.scores.assign(token=evaluation.token) for evaluation in evaluations])
    table = rows.pivot_table("n_words", "token", "system", sort=False)
    return table[[name for name in systems if name in table]].rename(columns=heading).rename_axis(columns=None)


def comparisons(evaluations: Iterable[Evaluation], top: Top = 1, ours: str = "semi_nmf") -> pd.DataFrame:
    """One system against every other one on the same pictures, all tokens and metrics (ours)."""
    parts = {}
    for evaluation in evaluations:
        for metric in METRICS:
            if evaluation.mean(ours, metric, top) is not None:
                parts[evaluation.token, metric] = evaluation.compare(metric, top, ours)
    table = pd.concat(parts, names=["token", "metric"])
    for test in TESTS:
        table[f"{test}_holm"] = holm(table[test])
    return table


def no_difference(compared: pd.DataFrame, test: str = "p_paired_t_holm", alpha: float = 0.05) -> pd.Series:
    """Where `comparisons` show none: the test over pictures finds none, or 0 lies in the interval, seeds included."""
    return (compared[test] >= alpha) | (compared["low"] * compared["high"] <= 0)


def differences(compared: pd.DataFrame, alpha: float = 0.05) -> pd.DataFrame:
    """What `comparisons` says, in short: a system minus each other one, with its interval (ours).

    "(n.s.)" is said of what `no_difference` is true of, by the corrected paired t-test.
    """
    rows = compared.reset_index().rename(columns={"other": "system"})
    rows["cell"] = [
        f"{row.difference:+.3f} [{row.low:z.3f},{SPACE}{row.high:z.3f}]" + (f"{SPACE}(n.s.)" if level else "")
        for row, level in zip(rows.itertuples(), no_difference(rows, alpha=alpha))
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


def _numbers(mean: Mean | None, rows: Sequence[np.ndarray], counted: np.ndarray) -> dict:
    """A mean as columns of a table, of each seed's values; NaN where there are too few for one."""
    ends = {"mean": mean.value, "low": mean.low, "high": mean.high} if mean else dict.fromkeys(ENDS, float("nan"))
    n_missing = int(np.isnan(counted).sum())
    std = pd.Series([pd.Series(row).std() for row in rows]).mean()
    return {**ends, "std": std, "n": len(counted) - n_missing, "n_missing": n_missing}


def _seeds(means: np.ndarray) -> dict:
    """How far the means of seeds lie apart; NaN of a single one."""
    spread = {"seed_min": means.min(), "seed_max": means.max(), "seed_std": pd.Series(means).std()}
    return {"n_seeds": len(means)} | (spread if len(means) > 1 else dict.fromkeys(spread, float("nan")))


def _cell(row, best: bool, std: bool = True) -> str:
    """A mean as text: 0.610 ± 0.09* [0.598, 0.622] seeds 0.602–0.615, with a star if it is the best."""
    if pd.isna(row.mean):
        return NOTHING
    spread = f"{SPACE}±{SPACE}{row.std:.2f}" if std else ""
    cell = f"{row.mean:z.3f}{spread}{'*' if best else ''} [{row.low:z.3f},{SPACE}{row.high:z.3f}]"
    return cell + (f" seeds{SPACE}{row.seed_min:z.3f}{SPACE}to{SPACE}{row.seed_max:z.3f}" if row.n_seeds > 1 else "")


def _laid_out(numbers: pd.DataFrame, rows: list[str], systems: Sequence[str]) -> pd.DataFrame:
    """Cells with systems as columns, under their names; ours say so."""
    table = numbers.pivot_table("cell", rows, "system", aggfunc="first", sort=False)
    n_seeds = numbers.groupby("system")["n_seeds"].max() if "n_seeds" in numbers else {}
    names = {name: heading(name) + (f", {n_seeds[name]} seeds" if n_seeds.get(name, 1) > 1 else "") for name in systems}
    return (
        table.reindex(columns=[name for name in systems if name in table])
        .rename(columns=names)
        .rename_axis(columns=None)
    )


def _indexed(table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """The same table with its tuples as levels of rows."""
    return table.set_axis(pd.MultiIndex.from_tuples(table.index, names=names))


def _keys(table: pd.DataFrame) -> list[tuple]:
    """What its rows are called, as tuples."""
    return [key if isinstance(key, tuple) else (key,) for key in table.index]


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
