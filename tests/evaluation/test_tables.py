"""Tables of evaluations made by hand, the paper's numbers, and their export."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from coxlmm_utils.evaluation.comparison import compare, holm
from coxlmm_utils.evaluation.evaluate import Evaluation
from coxlmm_utils.evaluation.systems import NAMES
from coxlmm_utils.evaluation.tables import (
    beside_the_paper,
    comparisons,
    differences,
    no_difference,
    overlap_numbers,
    paper_learned_steering,
    paper_table1,
    paper_table2,
    save_table,
    score_numbers,
    table1,
    table2,
    union_lengths,
)
from coxlmm_utils.statistics import nested_bootstrap

pytestmark = pytest.mark.filterwarnings("ignore:indexing past lexsort depth")

NAN = np.nan
SCORES = {  # of four pictures; lists of lists are of two seeds
    "gt_captions": [0.9, 0.8, 0.7, NAN],
    "semi_nmf": [[0.6, 0.7, 0.5, 0.4], [0.4, 0.7, 0.5, 0.6]],
    "simple": [0.5, 0.6, 0.1, 0.3],
    "rnd_words": [0.2, 0.1, 0.3, 0.1],
    "rnd_words_gaussian": [0.3, 0.1, 0.1, 0.2],
}
BERT = {name: (np.array(scores) - 0.4).tolist() for name, scores in SCORES.items()}
NOT_BERT = {name: np.full(np.shape(scores), NAN).tolist() for name, scores in SCORES.items()}
OVERLAPS = {"semi_nmf": [0.1, 0.2, NAN], "kmeans": [0.3, 0.5, 0.4], "pca": [0.1, 0.0, 0.3], "simple": [NAN, NAN, 0.2]}


def evaluation(token: str = "dog", clip: dict = SCORES, bert: dict = BERT, overlaps: dict = OVERLAPS) -> Evaluation:
    """An evaluation with these scores, those of the top three 0.1 higher, of their words as one list 0.2."""
    parts = []
    for name in clip:
        for seed, (single, other) in enumerate(zip(np.atleast_2d(clip[name]), np.atleast_2d(bert[name]))):
            columns = {
                "clipscore": single,
                "bertscore": other,
                "clipscore_top3": single + 0.1,
                "bertscore_top3": other + 0.1,
                "clipscore_union": single + 0.2,
                "bertscore_union": other + 0.2,
            }
            ids = [f"p{row}" for row in range(len(single))]
            parts.append(pd.DataFrame({"system": name, "seed": seed, "picture": ids, **columns}))
    concepts = [
        pd.DataFrame({"system": name, "seed": 0, "concept": range(len(item)), "words": 1, "overlap": item})
        for name, item in overlaps.items()
    ]
    return Evaluation(token, pd.concat(parts, ignore_index=True), pd.concat(concepts, ignore_index=True), {})


def plain(cell: str) -> str:
    """A cell without the spaces at which no line breaks."""
    return cell.replace("\xa0", " ")


def row_of(numbers: pd.DataFrame, **wanted) -> pd.Series:
    """The one row with these values."""
    (row,) = numbers.loc[(numbers[list(wanted)] == pd.Series(wanted)).all(axis=1)].iloc
    return row


# Numbers


def test_numbers_are_of_seeds_means_and_pictures():
    numbers = score_numbers([evaluation()])
    row = row_of(numbers, metric="clipscore", system="semi_nmf")
    mean = nested_bootstrap(SCORES["semi_nmf"], crossed=True)
    assert row[["mean", "low", "high"]].tolist() == pytest.approx([mean.value, mean.low, mean.high])
    assert row["std"] == pytest.approx(np.std(SCORES["semi_nmf"], axis=1, ddof=1).mean()) and row["token"] == "dog"
    assert row_of(score_numbers([evaluation()], 3), metric="bertscore", system="simple")["mean"] == pytest.approx(0.075)
    union = score_numbers([evaluation()], "union", ["simple"])
    assert union["mean"].tolist() == pytest.approx([0.575, 0.175]) and set(union["system"]) == {"simple"}


def test_numbers_show_what_seeds_differ_by():
    numbers = score_numbers([evaluation(clip=SCORES | {"semi_nmf": [[0.6, 0.7, 0.5, 0.4], [0.4, 0.7, 0.5, 0.2]]})])
    row = row_of(numbers, metric="clipscore", system="semi_nmf")
    spread = [2, 0.45, 0.55, np.std([0.45, 0.55], ddof=1)]
    assert row[["n_seeds", "seed_min", "seed_max", "seed_std"]].tolist() == pytest.approx(spread)
    row = row_of(numbers, metric="bertscore", system="simple")
    assert row["n_seeds"] == 1 and row[["seed_min", "seed_max", "seed_std"]].isna().all()


def test_numbers_count_what_is_missing():
    numbers = score_numbers([evaluation(bert=NOT_BERT)])
    assert row_of(numbers, metric="clipscore", system="gt_captions")[["n", "n_missing"]].tolist() == [3, 1]
    assert row_of(numbers, metric="clipscore", system="simple")[["n", "n_missing"]].tolist() == [4, 0]
    row = row_of(numbers, metric="bertscore", system="semi_nmf")
    assert row[["n", "n_missing"]].tolist() == [0, 4] and row[["mean", "low", "high", "std"]].isna().all()


def test_numbers_of_every_token_metric_and_system_in_order():
    numbers = score_numbers([evaluation("dog"), evaluation("bus")])
    order = [name for name in NAMES if name in SCORES]
    expected = [
        (token, metric, name) for token in ("dog", "bus") for metric in ("clipscore", "bertscore") for name in order
    ]
    assert list(zip(numbers["token"], numbers["metric"], numbers["system"])) == expected


def test_overlap_numbers():
    numbers = overlap_numbers([evaluation()])
    row = row_of(numbers, token="dog", system="semi_nmf")
    assert row[["mean", "std"]].tolist() == pytest.approx([0.15, np.std([0.1, 0.2], ddof=1)])
    assert row[["n", "n_missing"]].tolist() == [2, 1]
    row = row_of(numbers, token="dog", system="simple")  # one concept has words: no mean of it
    assert row[["n", "n_missing"]].tolist() == [1, 2] and np.isnan(row["mean"])


# Table 1 and Table 2


def test_table_1_is_laid_out_as_the_papers():
    table = table1([evaluation("dog"), evaluation("a_b%")])
    assert table.index.tolist() == [
        ("dog", "CLIPScore"), ("dog", "BERTScore"), ("a_b%", "CLIPScore"), ("a_b%", "BERTScore"),
    ]  # fmt: skip
    assert table.index.names == ["token", "metric"] and table.columns.name is None
    assert table.columns.tolist() == ["Rnd-Words", "Simple", "Semi-NMF, 2 seeds", "GT-captions"]  # without noise
    mean = nested_bootstrap(SCORES["semi_nmf"], crossed=True)
    cell = f"0.550 ± 0.13* [{mean.low:.3f}, {mean.high:.3f}] seeds 0.550 to 0.550"
    assert plain(table.loc[("dog", "CLIPScore"), "Semi-NMF, 2 seeds"]) == cell
    assert plain(table.loc[("dog", "CLIPScore"), "GT-captions"]).startswith("0.800 ± 0.10 [")


def test_the_star_is_at_the_best_but_the_ground_truth():
    for row in table1([evaluation(), evaluation("bus")]).itertuples(index=False):
        assert ["*" in cell for cell in row] == [False, False, True, False]
    best = evaluation(clip=SCORES | {"simple": [0.9, 0.9, 0.9, 0.8]})
    assert table1([best]).loc[("dog", "CLIPScore"), "Simple"].count("*") == 1
    shown = table1([best], systems=["semi_nmf", "rnd_words"]).loc[("dog", "CLIPScore"), "Semi-NMF, 2 seeds"]
    assert "*" in shown  # of what is shown


def test_table_1_of_other_systems_and_of_three_concepts():
    table = table1([evaluation()], top=3, systems=["gt_captions", "rnd_words_gaussian", "pca"])
    assert table.columns.tolist() == ["GT-captions", "Rnd-Words, any direction (ours)"]
    assert plain(table.iloc[0, 0]).startswith("0.900 ± 0.10 [")
    assert plain(table.iloc[0, 1]).startswith("0.275 ± 0.10* [")


def test_a_dash_where_nothing_could_be_judged():
    table = table1([evaluation(bert=NOT_BERT), evaluation("bus")])
    assert table.loc[("dog", "BERTScore")].tolist() == ["–"] * 4
    assert all("*" in table.loc[row, "Semi-NMF, 2 seeds"] for row in (("dog", "CLIPScore"), ("bus", "BERTScore")))
    only_one = SCORES | {"gt_captions": [0.9, NAN, NAN, NAN]}
    assert table1([evaluation(clip=only_one)]).loc[("dog", "CLIPScore"), "GT-captions"] == "–"


def test_table_2_has_its_star_at_the_lowest():
    table = table2([evaluation(), evaluation("bus", overlaps={"kmeans": [0.2, 0.2], "semi_nmf": [0.3, 0.3]})])
    assert table.index.tolist() == ["dog", "bus"] and table.index.name == "token"
    assert table.columns.tolist() == ["Simple", "PCA, active side (ours)", "K-Means", "Semi-NMF"]
    assert table.loc["dog"].str.contains("*", regex=False).tolist() == [False, True, False, False]
    assert plain(table.loc["bus", "K-Means"]) == "0.200* [0.200, 0.200]" and "*" not in table.loc["bus", "Semi-NMF"]
    assert table.loc["dog", "Simple"] == "–" and table.loc["dog", "K-Means"].startswith("0.400 [")


def test_table_2_says_how_far_seeds_lie_apart():
    result = evaluation()
    again = result.concepts[result.concepts["system"] == "semi_nmf"].assign(seed=1, overlap=[0.3, 0.4, 0.5])
    seeded = replace(result, concepts=pd.concat([result.concepts, again]))
    mean = nested_bootstrap([[0.1, 0.2], [0.3, 0.4, 0.5]])
    cell = f"{mean.value:.3f} [{mean.low:.3f}, {mean.high:.3f}] seeds 0.150 to 0.400"
    assert plain(table2([seeded]).loc["dog", "Semi-NMF, 2 seeds"]) == cell
    assert mean.low == pytest.approx(0.1, abs=0.06) and mean.high == pytest.approx(0.5, abs=0.06)


def test_table_2_where_no_concept_has_words():
    table = table2([evaluation(overlaps={"semi_nmf": [NAN, NAN], "pca": [NAN, NAN]})])
    assert table.loc["dog"].tolist() == ["–", "–"]


# The paper's

PAPER_1 = """
Dog   CLIPScore 0.519 0.05 0.425 0.06 0.546 0.08 0.610 0.09 0.783 0.06
Dog   BERTScore 0.201 0.04 0.306 0.05 0.346 0.08 0.405 0.07 0.511 0.11
Bus   CLIPScore 0.507 0.05 0.425 0.08 0.667 0.06 0.634 0.08 0.736 0.05
Bus   BERTScore 0.200 0.05 0.303 0.06 0.390 0.05 0.404 0.07 0.466 0.11
Train CLIPScore 0.496 0.05 0.410 0.07 0.642 0.06 0.646 0.07 0.727 0.05
Train BERTScore 0.210 0.06 0.253 0.06 0.392 0.07 0.378 0.07 0.436 0.08
Cat   CLIPScore 0.539 0.04 0.461 0.04 0.589 0.07 0.627 0.06 0.798 0.05
Cat   BERTScore 0.207 0.07 0.307 0.03 0.425 0.10 0.437 0.08 0.544 0.10
"""
PAPER_2 = """
Dog   0.371 0.004 0.501 0.086
Bus   0.622 0.002 0.487 0.177
Train 0.619 0.015 0.367 0.107
Cat   0.452 0.000 0.500 0.146
"""


def test_the_papers_table_1_is_as_printed():
    table = paper_table1()
    assert table.columns.tolist() == ["Rnd-Words", "Noise-Imgs", "Simple", "Semi-NMF", "GT-captions"]
    lines = [line.split() for line in PAPER_1.strip().splitlines()]
    assert table.index.tolist() == [tuple(line[:2]) for line in lines] and table.index.names == ["token", "metric"]
    expected = [[f"{mean} ± {std}" for mean, std in zip(line[2::2], line[3::2])] for line in lines]
    assert table.to_numpy().tolist() == expected


def test_the_papers_table_2_is_as_printed():
    table = paper_table2()
    assert table.columns.tolist() == ["Simple", "PCA", "K-Means", "Semi-NMF"] and table.index.name == "token"
    lines = [line.split() for line in PAPER_2.strip().splitlines()]
    assert [[token, *row] for token, row in zip(table.index, table.to_numpy().tolist())] == lines


# Comparisons


def test_the_tables_of_learned_steering_are_as_printed():
    safety, pope = paper_learned_steering()
    assert safety.loc["expert deferral", "L2S"] == 0.395 and safety.shape == (5, 6)
    assert pope.loc["popular"].idxmax() == "P2S" and pope.loc["popular", "Prompt"] > pope.loc["popular", "L2S"]


def test_comparisons_correct_over_all_rows():
    both = [evaluation("dog"), evaluation("bus", clip=SCORES | {"simple": [0.4, 0.5, 0.4, 0.5]})]
    table = comparisons(both)
    others = ["rnd_words", "simple", "gt_captions", "rnd_words_gaussian"]
    pairs = [(token, metric) for token in ("dog", "bus") for metric in ("clipscore", "bertscore")]
    assert table.index.tolist() == [(*pair, other) for pair in pairs for other in others]
    assert table.index.names == ["token", "metric", "other"]
    for test in ("p_paired_t", "p_wilcoxon"):
        assert table[f"{test}_holm"].tolist() == holm(table[test]).tolist()
    alone = compare(both[1].per_seed("bertscore"), "semi_nmf")
    result = table.loc["bus", "bertscore"]
    assert result["p_paired_t"].tolist() == alone["p_paired_t"].tolist()
    assert result["p_paired_t_holm"].tolist() != alone["p_paired_t_holm"].tolist()
    assert result.columns.tolist() == alone.columns.tolist()


def test_comparisons_of_three_concepts():
    raised = evaluation()
    raised.scores.loc[raised.scores["system"] == "simple", "clipscore_top3"] += 0.25
    table = comparisons([raised], top=3).loc["dog", "clipscore"]
    assert table.loc["simple", "difference"] == pytest.approx(0.55 - 0.375 - 0.25)


def test_comparisons_of_what_could_be_judged():
    one_gt = BERT | {"gt_captions": [0.5, NAN, NAN, NAN]}
    table = comparisons([evaluation(bert=NOT_BERT), evaluation("bus", bert=one_gt)])
    assert ("dog", "bertscore") not in table.index.droplevel("other")
    assert "gt_captions" not in table.loc["bus", "bertscore"].index
    assert np.isfinite(table.to_numpy(float)).all()


def test_differences_in_short():
    compared = comparisons([evaluation(), evaluation("bus", clip=SCORES | {"simple": [0.4, 0.5, 0.4, 0.5]})])
    table = differences(compared, alpha=0.4)
    assert table.index.tolist() == [
        ("dog", "CLIPScore"), ("dog", "BERTScore"), ("bus", "CLIPScore"), ("bus", "BERTScore"),
    ]  # fmt: skip
    assert table.columns.tolist() == ["Rnd-Words", "Simple", "GT-captions", "Rnd-Words, any direction (ours)"]
    row = compared.loc["bus", "clipscore"].loc["simple"]
    start = f"+0.100 [{row['low']:z.3f}, {row['high']:z.3f}]"
    assert plain(table.loc[("bus", "CLIPScore"), "Simple"]) == start + " (n.s.)"
    assert row["p_paired_t_holm"] > 0.4 > compared["p_paired_t_holm"].min() > 0.05
    marked = table.map(lambda cell: cell.endswith("(n.s.)")).to_numpy().ravel()
    holds_0 = compared["low"] * compared["high"] <= 0
    assert marked.tolist() == ((compared["p_paired_t_holm"] >= 0.4) | holds_0).tolist()
    assert all(cell.endswith("(n.s.)") for cell in differences(compared).to_numpy().ravel())
    assert table.loc[("dog", "CLIPScore"), "GT-captions"].startswith("-0.2")


def test_no_difference_by_one_rule_for_every_test():
    """n.s. by the test, by the interval, by neither; the other test has its own p."""
    ends = {"low": [0.1, -0.1, -0.3], "high": [0.2, 0.3, -0.1]}
    compared = pd.DataFrame({"p_paired_t_holm": [0.06, 0.01, 0.01], "p_wilcoxon_holm": [0.04, 0.01, 0.05]} | ends)
    assert no_difference(compared).tolist() == [True, True, False]
    assert no_difference(compared, "p_wilcoxon_holm").tolist() == [False, True, True]


def test_comparisons_with_another_system_than_semi_nmf():
    table = comparisons([evaluation()], ours="simple").loc["dog", "clipscore"]
    assert "simple" not in table.index and table.loc["semi_nmf", "difference"] == pytest.approx(0.375 - 0.55)


def test_mean_length_of_three_concepts_words_as_one_list():
    first, other = evaluation(), evaluation("bus", {"simple": [0.5, 0.6]}, {"simple": [0.1, 0.2]})
    of_dog = {"gt_captions": [NAN] * 4, "semi_nmf": [4, 3, 1, 0, 4, 4, 4, 4], "simple": [2] * 4}
    scores = first.scores[first.scores["system"].isin(of_dog)]
    first = replace(first, scores=scores.assign(n_words=np.concatenate(list(of_dog.values()))))
    table = union_lengths([first, replace(other, scores=other.scores.assign(n_words=[1, 2]))], ["simple", "semi_nmf"])
    assert table.index.tolist() == ["dog", "bus"] and table.columns.tolist() == ["Simple", "Semi-NMF"]
    assert table["Simple"].tolist() == [2, 1.5] and table.loc["dog", "Semi-NMF"] == 3


def test_differences_of_what_could_be_judged():
    table = differences(comparisons([evaluation(bert=NOT_BERT)]))
    assert table.index.tolist() == [("dog", "CLIPScore")]


# Export


def test_a_saved_table_is_read_back(tmp_path):
    numbers = score_numbers([evaluation("a_b%"), evaluation("bus", bert=NOT_BERT)])
    save_table(numbers, tmp_path / "new" / "numbers.v1")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "new" / "numbers.v1.csv", index_col=0), numbers)
    table = table1([evaluation("a_b%"), evaluation("bus")])
    save_table(table, tmp_path / "table1")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "table1.csv", index_col=[0, 1]), table.map(plain))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "table1.csv", "table1.tex"]


def test_latex_with_its_own_signs_escaped(tmp_path):
    table = table1([evaluation("a_b%"), evaluation("#1 & $2"), evaluation("{x}\\y~^z é", bert=NOT_BERT)])
    save_table(table, tmp_path / "table1", caption="100% of a_b")
    latex = (tmp_path / "table1.tex").read_text(encoding="utf-8")
    for there in (r"a\_b\%", r"\#1 \& \$2", r"\{x\}\textbackslash y\textasciitilde \textasciicircum z é", " -- "):
        assert there in latex
    assert r"\caption{100\% of a\_b}" in latex and r"0.550~$\pm$~0.13* [" in latex
    assert not set("±–\xa0") & set(latex)
    assert latex.replace(r"\%", "").count("%") == latex.replace(r"\#", "").count("#") == 0
    rows = [line for line in latex.splitlines() if "pm" in line or " -- " in line]
    assert len(rows) == 6 and {line.replace(r"\&", "").count("&") for line in rows} == {5}


def test_latex_needs_booktabs_alone(tmp_path):
    for name, table in {"table1": table1([evaluation()]), "compared": comparisons([evaluation()])}.items():
        save_table(table, tmp_path / name)
        latex = (tmp_path / f"{name}.tex").read_text()
        assert r"\toprule" in latex and r"\bottomrule" in latex and r"\caption" not in latex
        assert r"\multirow" not in latex and r"\cline" not in latex


def test_latex_of_numbers(tmp_path):
    numbers = score_numbers([evaluation(bert=NOT_BERT)])
    save_table(numbers, tmp_path / "numbers")
    latex = (tmp_path / "numbers.tex").read_text()
    assert r"seed\_std" in latex and r"rnd\_words" in latex and "0.5500" in latex
    assert "nan" not in latex and " -- & " in latex


def test_latex_of_tiny_numbers(tmp_path):
    save_table(pd.DataFrame({"p": [3e-21, 0.00012345, 0.0, -4e-7], "n": [1, 2, 3, 4]}), tmp_path / "p")
    latex = (tmp_path / "p.tex").read_text()
    for there in ("3.0e-21 & 1", "0.0001 & 2", "0.0000 & 3", "-4.0e-07 & 4"):
        assert there in latex


def test_saving_leaves_the_table_as_it_is(tmp_path):
    table = table1([evaluation("a_b%")])
    before = table.copy(deep=True)
    save_table(table, tmp_path / "table1")
    pd.testing.assert_frame_equal(table, before)
    assert table.index.names == ["token", "metric"]


def test_the_papers_rows_stand_above_ours_under_the_same_names():
    ours = table1([evaluation("dog"), evaluation("zebra")], systems=["rnd_words", "simple", "semi_nmf", "gt_captions"])
    table = beside_the_paper(ours, paper_table1())
    assert list(table.columns) == list(paper_table1().columns)
    assert list(table.index)[:3] == [
        ("dog", "CLIPScore", "paper"),
        ("dog", "CLIPScore", "ours"),
        ("dog", "BERTScore", "paper"),
    ]
    assert ("zebra", "CLIPScore", "paper") not in table.index and table.index.names == ["token", "metric", "whose"]
    assert table.loc[("dog", "CLIPScore", "paper"), "Semi-NMF"] == "0.610 ± 0.09"
    assert table.loc[("dog", "CLIPScore", "ours"), "Semi-NMF"] == ours.loc[("dog", "CLIPScore"), "Semi-NMF, 2 seeds"]
    assert table.loc[("dog", "CLIPScore", "ours"), "Noise-Imgs"] == "–"


def test_the_overlaps_of_the_paper_stand_above_ours_too():
    table = beside_the_paper(table2([evaluation("Cat")], ["simple", "kmeans", "semi_nmf"]), paper_table2())
    assert table.loc[("Cat", "paper"), "PCA"] == "0.000" and table.loc[("Cat", "ours"), "PCA"] == "–"
    assert table.loc[("Cat", "ours"), "K-Means"].startswith("0.400")
