from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.lib.agreement import EQUAL, OUTSIDE, UNKNOWN, WITHIN, agreement
from analysis.lib.multiplicity import benjamini_hochberg, holm
from analysis.lib.significance import (
    MISSING,
    Decision,
    average,
    compare,
    contrast,
    decide,
    design,
    difference,
    image_covariance,
    in_words,
    pooled_sd,
    summary,
)
from analysis.lib.verdicts import AGAINST, IN_WORDS, LEANS, NO_DIFFERENCE, OPEN
from can.errors import DataError

ALL = 10**15  # test images, so many that their error vanishes

# Linear probes, three seeds each, of the rows of Table 2 at a small scale; and its orderings between two rows.
CAN_B, CAN_800, CAN_1600, CAN_3000, CAN_5000, MAE_1600, MAE_5000, SIM_B, SIM_800, SIM_1600, SIM_5000 = range(11)
TABLE_2 = {
    CAN_B: (76.67, 76.18, 77.81),
    CAN_800: (79.16, 79.41, 78.71),
    CAN_1600: (79.54, 80.06, 79.63),
    CAN_3000: (80.57, 80.07, 80.72),
    CAN_5000: (81.13, 80.66, 80.36),
    MAE_1600: (79.07, 79.2, 78.92),
    MAE_5000: (80.44, 80.4, 79.67),
    SIM_B: (78.7, 79.32, 78.79),
    SIM_800: (80.5, 80.66, 80.5),
    SIM_1600: (80.91, 80.1, 80.76),
    SIM_5000: (81.22, 81.79, 81.59),
}
ORDERINGS = [
    *((CAN_B, SIM_B), (CAN_800, SIM_800), (CAN_1600, SIM_1600), (CAN_5000, SIM_5000)),
    *((CAN_1600, MAE_1600), (CAN_5000, MAE_5000), (SIM_1600, MAE_1600), (SIM_5000, MAE_5000)),
    *((CAN_1600, CAN_800), (CAN_3000, CAN_1600), (CAN_5000, CAN_3000), (MAE_5000, MAE_1600)),
    *((SIM_1600, SIM_800), (SIM_5000, SIM_1600), (CAN_800, CAN_B), (SIM_800, SIM_B)),
]


def table(rows: Mapping[Hashable, Sequence[float] | Mapping[int, float]], n: int = ALL) -> pd.DataFrame:
    """Runs of rows, whose values are of seeds 0, 1, … unless they say which."""
    runs = []
    for row, values in rows.items():
        seeds = values if isinstance(values, Mapping) else dict(enumerate(values))
        runs += [(row, seed, float(value), n) for seed, value in seeds.items()]
    return pd.DataFrame(runs, columns=["row", "seed", "value", "n"])


def invented(
    tables: int,
    rows: int,
    seeds: int,
    images: int,
    seed_sd: float = 0.3,
    run_sd: float = 0.4,
) -> np.ndarray:
    """Which test images runs get right, [tables, rows * seeds, images], where every row gets 80 % of all images right.

    An image is right if the run's skill is above the image's difficulty, a part of which is the row's, and a part the
    run's own. Skills have effects of seeds and of runs, whose standard deviations are in points.
    """
    rng = np.random.default_rng(0)
    row_images, run_images = np.float32(0.5), np.float32(0.5)
    total = float(np.sqrt(1 + row_images**2 + run_images**2))
    points = 100 * stats.norm.pdf(stats.norm.ppf(0.8)) / total  # of accuracy, one unit of skill
    skill = seed_sd * rng.standard_normal((tables, 1, seeds)) + run_sd * rng.standard_normal((tables, rows, seeds))
    skill /= points
    difficulty = rng.standard_normal((tables, 1, 1, images), np.float32)
    difficulty = difficulty + row_images * rng.standard_normal((tables, rows, 1, images), np.float32)
    noise = run_images * rng.standard_normal((tables, rows, seeds, images), np.float32)
    right = (stats.norm.ppf(0.8) * total + skill).astype(np.float32)[..., None] > difficulty + noise
    return right.reshape(tables, rows * seeds, images)


def contrasts(pairs: Sequence[tuple[int, int]]) -> list[Mapping[Hashable, float]]:
    return [difference(*pair) for pair in pairs]


def decided(correct: np.ndarray, rows: int, claims: Sequence[tuple[int, int]], by_image: bool = True) -> Decision:
    seeds = correct.shape[1] // rows
    plan = design(np.repeat(np.arange(rows), seeds).tolist(), list(range(seeds)) * rows, contrasts(claims))
    n = np.full(correct.shape[1], correct.shape[2])
    return decide(plan, 100 * correct.mean(-1), n, image_covariance(correct) if by_image else None)


SHAPES = {
    "Table 2": (11, ORDERINGS),
    "three rows": (3, [(0, 1), (1, 2), (0, 2)]),
    "a pair": (2, [(0, 1)]),
}
TABLES = 10_000


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("shape", SHAPES)
def test_under_no_effect_at_most_5_percent_of_tables_decide_anything(shape: str, seeds: int) -> None:
    rows, claims = SHAPES[shape]
    correct = invented(TABLES, rows, seeds, images=100)
    for by_image in (True, False):
        found = decided(correct, rows, claims, by_image)
        assert (holm(found.p) < 0.05).any(-1).sum() <= 0.05 * TABLES


@pytest.mark.parametrize("ratio", [0.1, 0.3, 1])
def test_one_degree_of_freedom_keeps_the_rate_whatever_part_of_the_error_is_the_test_sets(ratio: float) -> None:
    # Two rows of two seeds. Welch's and Satterthwaite's approximation would be wrong in up to 13 % of tables.
    tables, n = 20_000, 10**6
    image_sd = np.sqrt(2 * 0.8 * 0.2 / n) * 100
    rng = np.random.default_rng(0)
    image = rng.normal(0, image_sd, (tables, 1, 1)) * [[1], [0]]
    run_sd = image_sd / np.sqrt(ratio)  # the difference of two seeds' means has the variance run_sd ** 2
    values = 80 + image + rng.normal(0, run_sd, (tables, 2, 2))
    found = decide(design([0, 0, 1, 1], [0, 1, 0, 1], contrasts([(0, 1)])), values.reshape(tables, 4), np.full(4, n))
    assert 100 < (found.p < 0.05).sum() <= stats.binom.ppf(0.999, tables, 0.05)
    assert ((found.low < 0) & (found.high > 0) == (found.p > 0.05)).all()


def test_the_interval_has_the_right_width_when_images_are_all_the_error() -> None:
    # Rows differ in which images they get right; runs of a row differ little. Truth is 0.
    correct = invented(400, 11, 3, images=200, seed_sd=0, run_sd=0.05)
    found = decided(correct, 11, ORDERINGS)
    assert 0.03 < ((found.low > 0) | (found.high < 0)).mean() < 0.055
    unpaired = decided(correct, 11, ORDERINGS, by_image=False)
    assert (unpaired.high - unpaired.low).mean() > 1.3 * (found.high - found.low).mean()


def test_a_gap_of_three_standard_deviations_is_found_in_most_tables_of_three_seeds() -> None:
    rng = np.random.default_rng(0)
    values = 80 + 0.3 * rng.standard_normal((1000, 1, 3)) + 0.5 * rng.standard_normal((1000, 11, 3))
    values[:, SIM_800] += 3 * 0.5
    plan = design(np.repeat(np.arange(11), 3).tolist(), [0, 1, 2] * 11, contrasts(ORDERINGS))
    found = decide(plan, values.reshape(1000, 33), np.full(33, ALL))
    real = [ORDERINGS.index(claim) for claim in ((SIM_800, SIM_B), (CAN_800, SIM_800), (SIM_1600, SIM_800))]
    adjusted = holm(found.p)[:, real] < 0.05
    assert (adjusted.mean(0) > 0.55).all()  # of one claim among sixteen
    assert adjusted.any(1).mean() > 0.8
    assert (np.sign(found.difference[:, real]) == [1, -1, -1])[adjusted].all()


def test_two_rows_of_the_same_seeds_are_a_paired_t_test() -> None:
    above, below = np.array([81.0, 84.2, 79.9]), np.array([80.1, 82.9, 79.6])
    expected = stats.ttest_rel(above, below)
    (claim,) = compare(table({"a": above, "b": below}), [("a", "b")]).itertuples()
    interval = expected.confidence_interval(0.95)
    assert claim.paired and claim.df == expected.df == 2 and claim.seeds == 3
    assert [claim.p, claim.low, claim.high] == pytest.approx([expected.pvalue, interval.low, interval.high], rel=1e-6)


def test_two_rows_of_different_seeds_are_students_t_test() -> None:
    above, below = np.array([81.0, 84.2, 79.9]), np.array([70.1, 72.9])
    expected = stats.ttest_ind(above, below)
    (claim,) = compare(table({"a": above, "b": {7: below[0], 8: below[1]}}), [("a", "b")]).itertuples()
    interval = expected.confidence_interval(0.95)
    assert not claim.paired and claim.df == expected.df == 3 and claim.seeds == 2
    assert [claim.p, claim.low, claim.high] == pytest.approx([expected.pvalue, interval.low, interval.high], rel=1e-6)
    assert claim.verdict == LEANS


def test_a_table_with_gaps_is_the_least_squares_fit_of_row_plus_seed() -> None:
    rows = {"a": {0: 81.0, 1: 84.2, 2: 79.9}, "b": {0: 80.1, 1: 82.9}, "c": {1: 71.0, 2: 66.5, 3: 70.0}}
    runs = table(rows)
    columns = [(runs.row == row) for row in "abc"] + [(runs.seed == seed) for seed in (1, 2, 3)]
    matrix = np.stack(columns, 1).astype(float)
    fit, (squares,), rank, _ = np.linalg.lstsq(matrix, runs.value.to_numpy(), rcond=None)
    contrast = np.array([1, 0, -1, 0, 0, 0])
    error = np.sqrt(squares / (8 - rank) * contrast @ np.linalg.inv(matrix.T @ matrix) @ contrast)
    claim = compare(runs, [("a", "b"), ("a", "c")]).iloc[1]
    assert claim.df == 8 - rank == 2
    assert claim.difference == pytest.approx(fit[0] - fit[2])
    assert claim.high - claim.difference == pytest.approx(stats.t.ppf(0.975, 2) * error, rel=1e-6)
    assert claim.p == pytest.approx(2 * stats.t.sf(abs(claim.difference) / error, 2), rel=1e-6)


def test_the_standard_deviation_is_pooled_over_rows_that_no_claim_is_about() -> None:
    two = compare(table({0: TABLE_2[0], 1: TABLE_2[1]}), [(1, 0)]).iloc[0]
    eleven = compare(table(TABLE_2), [(1, 0)]).iloc[0]
    assert (two.df, eleven.df) == (2, 20)
    assert two.difference == pytest.approx(eleven.difference)


def test_a_mean_of_differences_has_the_variance_of_its_weights() -> None:
    longer = average([difference(CAN_3000, CAN_1600), difference(CAN_5000, CAN_3000), difference(SIM_5000, SIM_1600)])
    assert longer == {CAN_5000: 1 / 3, CAN_1600: -1 / 3, SIM_5000: 1 / 3, SIM_1600: -1 / 3}  # CAN_3000 cancels
    claim = contrast(table(TABLE_2), [longer]).iloc[0]
    means = {row: np.mean(values) for row, values in TABLE_2.items()}
    assert claim.difference == pytest.approx(sum(weight * means[row] for row, weight in longer.items()))
    values = np.array(list(TABLE_2.values()))
    noise = values - values.mean(0) - values.mean(1, keepdims=True) + values.mean()
    error = np.sqrt((noise**2).sum() / 20 * (4 / 9) / 3)
    assert claim.high - claim.difference == pytest.approx(stats.t.ppf(0.975, 20) * error, rel=1e-6)
    with_images = contrast(table(TABLE_2, n=1000), [longer]).iloc[0]  # binomial, a row by itself
    shares = [means[row] / 100 for row in longer]
    image_variance = 1e4 * (sum(share * (1 - share) for share in shares) / 9 / 1000 + 1e-6)
    half = np.hypot(stats.t.ppf(0.975, 20) * error, stats.norm.ppf(0.975) * np.sqrt(image_variance))
    assert with_images.high - with_images.difference == pytest.approx(half, rel=1e-6)


def test_a_contrast_over_rows_without_common_seeds_is_not_paired() -> None:
    runs = table(TABLE_2 | {"other": {5: 80.0, 6: 81.0, 7: 82.0}})
    found = contrast(
        runs, [average([difference(0, 1), difference(0, 2)]), average([difference(0, 1), difference(0, "other")])]
    )
    assert list(found.paired) == [True, False]
    assert contrast(runs, [average([difference(0, 1), difference(0, "absent")])]).verdict[0] == MISSING


def test_seeds_that_rows_share_count_once_in_the_degrees_of_freedom_of_an_unpaired_claim() -> None:
    rows = {row: (80.0, 81.0, 82.5) for row in range(9)} | {"other": {5: 80.0, 6: 81.0, 7: 82.0}}
    assert compare(table(rows), [(0, "other")]).df[0] == 4  # two of seeds 0, 1, 2; two of 5, 6, 7


def test_the_orderings_of_table_2_by_seeds_alone_and_with_the_test_images() -> None:
    found = compare(table(TABLE_2), ORDERINGS)
    alone = np.where(found.p > 0.05, OPEN, np.where(found.difference > 0, LEANS, AGAINST))
    assert Counter(alone) == {LEANS: 6, AGAINST: 4, OPEN: 6}
    assert Counter(found.verdict) == {LEANS: 6, AGAINST: 4, NO_DIFFERENCE: 2, OPEN: 4}
    assert Counter(compare(table(TABLE_2, n=10_000), ORDERINGS).verdict) == {LEANS: 4, AGAINST: 2, OPEN: 10}


def test_families_are_adjusted_as_their_authors_say() -> None:
    p = np.array([0.03, 0.001, 0.6, 0.02, 0.02])
    assert list(holm(p)) == pytest.approx([0.08, 0.005, 0.6, 0.08, 0.08])  # .02 × 4, and nothing after it is less
    assert list(benjamini_hochberg(p)) == pytest.approx(stats.false_discovery_control(p))
    many = np.random.default_rng(0).random((3, 40)) ** 2
    assert benjamini_hochberg(many) == pytest.approx(stats.false_discovery_control(many, axis=-1))
    for one, adjusted in zip(many, holm(many), strict=True):
        steps = [value * (40 - place) for place, value in enumerate(sorted(one))]
        assert np.sort(adjusted) == pytest.approx(np.minimum(np.maximum.accumulate(steps), 1))


def test_one_seed_is_open_whatever_the_gap_and_changes_no_other_claim() -> None:
    claims = [("single", CAN_B), (CAN_B, "single"), *ORDERINGS]
    found = compare(table(TABLE_2 | {"single": (99.0,)}), claims)
    assert list(found.verdict[:2]) == [OPEN] * 2
    assert list(found.seeds[:2]) == [1, 1] and list(found.p[:2]) == [1, 1]
    assert found.difference[0] == pytest.approx(99 - np.mean(TABLE_2[CAN_B]))
    pd.testing.assert_frame_equal(
        found.iloc[2:].reset_index(drop=True), compare(table(TABLE_2), ORDERINGS), check_exact=False
    )


def test_a_table_of_one_seed_decides_nothing() -> None:
    found = compare(table({"a": (90.0,), "b": (10.0,)}), [("a", "b"), ("b", "a")])
    assert list(found.verdict) == [OPEN] * 2 and list(found.df) == [0, 0]


def test_a_missing_row_is_not_measured_and_nothing_else_is_missing() -> None:
    found = compare(table({"a": (80.0, 81.0), "b": (70.0,)}), [("a", "c"), ("a", "b")])
    assert list(found.verdict) == [MISSING, OPEN]
    assert found.loc[0, ["difference", "low", "high", "df", "p"]].isna().all()
    assert not found.loc[1].isna().any()
    assert list(compare(table({}), [("a", "b")]).verdict) == [MISSING]
    assert len(compare(table({"a": (80.0, 81.0)}), [])) == 0


@pytest.mark.filterwarnings("error")
def test_runs_without_any_noise_are_judged_by_their_test_images_alone() -> None:
    rows = {"a": (81.0, 81.0), "b": (80.0, 80.0), "c": (80.0, 80.0), "d": (0.0, 0.0)}
    found = compare(table(rows, n=1000), [("a", "b"), ("b", "c"), ("a", "d")])
    assert list(found.verdict) == [OPEN, OPEN, LEANS]
    assert not found.isna().any(axis=None)
    expected = 1.959964 * 100 * np.sqrt(0.81 * 0.19 / 1000 + 0.8 * 0.2 / 1000 + 1 / 1000**2)
    assert found.high[0] - found.difference[0] == pytest.approx(expected, rel=1e-6)


def test_a_perfect_score_on_ten_images_is_known_no_better_than_one_image() -> None:
    found = compare(table({"a": (100.0, 100.0), "b": (100.0, 100.0)}, n=10), [("a", "b")])
    assert found.high[0] == pytest.approx(19.6, abs=0.01)


def test_images_that_both_rows_get_right_do_not_widen_the_interval() -> None:
    easy = np.arange(1000) < 800
    right = {"a": easy | (np.arange(1000) % 50 == 49), "b": easy}  # 4 images more
    runs = table({row: (100 * one.mean(),) * 2 for row, one in right.items()}, n=1000)
    runs["correct"] = [right[row] for row in runs.row]
    claim = compare(runs, [("a", "b")]).iloc[0]
    difference = right["a"].astype(float) - right["b"]
    assert claim.difference == pytest.approx(0.4)
    assert claim.high - claim.difference == pytest.approx(196 * np.sqrt(difference.var() / 1000 + 1e-6), rel=1e-4)
    runs["correct"] = [one if row == "a" else None for row, one in zip(runs.row, runs.correct, strict=True)]
    assert compare(runs, [("a", "b")]).iloc[0].high > 3  # of two independent test sets


def test_rows_may_be_tuples_and_runs_come_in_any_order() -> None:
    runs = table({("can", str(row)): values for row, values in TABLE_2.items()})
    claims = [(("can", str(above)), ("can", str(below))) for above, below in ORDERINGS]
    shuffled = compare(runs.sample(frac=1, random_state=0), claims)
    assert list(shuffled.p) == pytest.approx(list(compare(table(TABLE_2), ORDERINGS).p))
    assert list(shuffled.above) == [above for above, _ in claims]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda runs: pd.concat([runs, runs.iloc[:1]]), "a has two results of seed 0"),
        (lambda runs: runs.assign(value=runs.value.where(runs.index != 1)), "per cent is from 0 to 100, not nan"),
        (lambda runs: runs.assign(n=[100, 200, 100, 100]), "the seeds of a were tested on 100 and on 200 images"),
        (lambda runs: runs.assign(correct=[np.ones(100, bool)] * 4), "the value is 80.0, but 100.0 % of `correct`"),
        (lambda runs: runs.assign(correct=[np.ones(50, bool)] * 4), "`correct` has 50 images, n is 100"),
    ],
)
def test_what_is_no_table_is_refused(change: object, message: str) -> None:
    runs = change(table({"a": (80.0, 81.0), "b": (70.0, 71.0)}, n=100))  # type: ignore[operator]
    with pytest.raises(DataError, match=message):
        compare(runs, [("a", "b")])


def test_a_row_is_summed_up_by_its_mean_and_sample_deviation() -> None:
    rows = summary(table({("b", 1): (80.0, 81.0, 83.0), ("a", 2): (70.0,)}, n=100))
    assert list(rows.row) == [("b", 1), ("a", 2)]
    assert rows["mean"].tolist() == pytest.approx([244 / 3, 70])
    assert rows.sd[0] == pytest.approx(np.std([80, 81, 83], ddof=1)) and rows.sd[1] is pd.NA
    assert rows.seeds.tolist() == [3, 1] and rows.n.tolist() == [100, 100]


def test_verdicts_are_counted_in_one_sentence() -> None:
    assert in_words([LEANS] * 6 + [AGAINST] * 4 + [OPEN] * 6) == (
        "Of the 16 orderings, 6 lean to the paper, 4 lean against it, 0 show no difference above 1 point, 6 are open "
        "and 0 are not measured."
    )
    assert in_words(list(IN_WORDS), "claims") == (
        "Of the 5 claims, 1 leans to the paper, 1 leans against it, 1 shows no difference above 1 point, 1 is open "
        "and 1 is not measured."
    )


def test_the_readers_runs_are_equal_within_or_outside_the_prediction_interval() -> None:
    published = table({"a": (80.0, 81.0, 82.0), "b": (70.0, 70.5, 72.0), "c": (50.0,)}, n=100)
    sd = np.sqrt((2 * 1.0**2 + 2 * np.var([70, 70.5, 72], ddof=1)) / 4)
    half = stats.t.ppf(0.975, 4) * sd * np.sqrt(1 + 1 / 3)
    assert pooled_sd(published) == (pytest.approx(sd), 4)
    values = {0: 80.0, 1: 80.0, 2: 81 + half - 1e-6, 3: 81 + half + 1e-6, 4: 82.0}
    mine = table({"a": values, "c": {0: 50.0, 1: 51.0}, "d": (60.0,)}, n=100)
    found = agreement(mine, published)
    assert list(found.level) == [EQUAL, WITHIN, WITHIN, OUTSIDE, WITHIN, EQUAL, WITHIN, UNKNOWN]
    assert found.low[0] == pytest.approx(81 - half) and found.high[5] == pytest.approx(50 + half / np.sqrt(2 / 3))
    assert found.low[7] is pd.NA


def test_published_single_seeds_can_only_be_equalled() -> None:
    published = table({"a": (80.0,), "b": (70.0,)}, n=100)
    assert list(agreement(table({"a": (80.0,), "b": (71.0,)}, n=100), published).level) == [EQUAL, UNKNOWN]


def test_other_test_images_are_no_agreement() -> None:
    with pytest.raises(DataError, match="a was tested on 50 images, and 100 when published"):
        agreement(table({"a": (80.0,)}, n=50), table({"a": (80.0,)}, n=100))


def test_correlations_over_images_may_agree_below_zero() -> None:
    published = table({"a": (-0.2, -0.1, -0.15)}, n=128)
    assert list(agreement(table({"a": (-0.2, -0.12, 0.9)}, n=128), published).level) == [EQUAL, WITHIN, OUTSIDE]


def test_what_is_no_accuracy_has_the_error_of_seeds_alone_and_any_value() -> None:
    above, below = np.array([301.0, 304.2, 299.9]), np.array([300.1, 302.9, 299.6])
    losses = table({"a": above, "b": below}, n=0)
    (claim,) = compare(losses, [("a", "b")]).itertuples()
    expected = stats.ttest_rel(above, below)
    low, high = expected.confidence_interval()
    assert (claim.p, claim.low, claim.high) == pytest.approx((expected.pvalue, low, high))
    # Two rows without any deviation differ, or they do not.
    same = table({"a": [-2.0, -2.0], "b": [-2.0, -2.0], "c": [-3.0, -3.0]}, n=0)
    assert list(compare(same, [("a", "b"), ("a", "c")])["verdict"]) == [OPEN, LEANS]
