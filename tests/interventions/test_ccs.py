"""Contrast-Consistent Search, and what its published evaluation inflates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit
from scipy.stats import norm

from genies.errors import DataError
from genies.interventions.arrays import ArrayPairs
from genies.interventions.ccs import ContrastConsistentSearch, _losses, _slopes, _start

EFFECT = 1.5


def contrast(n: int, effect: float, seed: int, shuffled: bool = False) -> ArrayPairs:
    """Best minus worse is ``effect`` along axis 0 in the yes view, minus that in the no view; noise is standard normal.

    Each view has an offset of its own, as real ones do: the answer's word. The effect is in the last layer of two.
    """
    rng = np.random.default_rng(seed)
    label = rng.random(n) < 0.5 if shuffled else np.ones(n, dtype=bool)
    signal = np.where(label, 0.5, -0.5)[:, None] * np.array([effect, -effect])
    residual = {}
    for view, sign in (("yes", 1), ("no", -1)):
        residual[view] = rng.standard_normal((n, 2, 2, 6), dtype=np.float32) + np.float32(3 * sign)
        residual[view][:, :, -1, 0] += sign * signal
    return ArrayPairs(residual=residual, label=label if shuffled else None)


@pytest.fixture(scope="module", params=["corrected", "paper"])
def fitted(request):
    settings = {"epochs": 600, "restarts": 4, "seeds": 3, "published_examples": 400}
    return ContrastConsistentSearch(protocol=request.param, **settings).fit(contrast(400, EFFECT, seed=1))


def alignment(fitted: ContrastConsistentSearch) -> float:
    """Mean over seeds of the cosine of a probe's weights with the planted direction, without its sign."""
    return float(np.mean(np.abs(fitted.weights_[:, 0]) / np.linalg.norm(fitted.weights_, axis=1)))


def test_the_planted_direction_is_found_without_labels(fitted):
    assert fitted.weights_.shape == (3 if fitted.protocol == "corrected" else 1, 6)
    assert alignment(fitted) > 0.95


def test_as_many_pairs_are_ranked_right_as_theory_says(fitted, accuracy, within_binomial):
    pairs = contrast(3000, EFFECT, seed=2, shuffled=True)
    share = accuracy(fitted.predict_proba(pairs), pairs.label)
    # The two texts of a pair differ by 2 · effect along the probe, with noise of four standard normal draws.
    assert within_binomial(share, len(pairs), norm.cdf(EFFECT * alignment(fitted)))


def test_the_published_accuracy_is_that_of_single_texts(fitted, within_binomial):
    pairs = contrast(3000, EFFECT, seed=2, shuffled=True)
    share = fitted.published_accuracy(pairs)
    if fitted.protocol == "corrected":
        assert share is None
    else:
        # Texts drawn with replacement vary twice as much as the texts do: as a binomial of half as many.
        assert within_binomial(share, len(pairs), norm.cdf(EFFECT * alignment(fitted) / np.sqrt(2)))


def test_on_noise_the_published_rule_reports_its_excess_and_the_corrected_one_chance(fitted, accuracy):
    texts, replicates = 40, 1500
    tests = [contrast(texts // 2, 0.0, seed=1000 + i, shuffled=True) for i in range(replicates)]
    if fitted.protocol == "paper":
        shares = [fitted.published_accuracy(pairs) for pairs in tests]
        # Half plus the mean deviation of a share. Drawn texts still have labels that are coins, but one label stands
        # for all draws of its text, of which n draws of n texts have about two on average.
        multiples = np.random.default_rng(0).multinomial(texts, np.full(texts, 1 / texts), 20_000)
        coins = np.random.default_rng(1).choice([-0.5, 0.5], multiples.shape)
        expected = 0.5 + np.mean(np.abs((multiples * coins).sum(1) / texts))
        assert expected == pytest.approx(0.5 + 0.4 * np.sqrt(2 / texts), abs=0.005)
    else:
        shares = [accuracy(fitted.predict_proba(pairs), pairs.label) for pairs in tests]
        expected = 0.5
    error = np.std(shares) / np.sqrt(replicates)
    assert abs(np.mean(shares) - expected) < 3.3 * error


def test_corrected_calibrates_its_scores_in_the_order_that_it_reports(fitted):
    pairs = contrast(500, EFFECT, seed=3, shuffled=True)
    scores, probability = fitted.decision_function(pairs), fitted.predict_proba(pairs)
    assert np.all((scores >= 0) & (scores <= 1))
    assert np.array_equal(scores[:, 0] > scores[:, 1], probability > 0.5)
    if fitted.protocol == "corrected":
        repeats = fitted.predict_repeats(pairs)
        assert repeats.shape == (3, 500) and np.array_equal(repeats.mean(axis=0), probability)


def test_paper_chooses_its_sign_on_the_test_labels_and_corrected_never_sees_them(fitted):
    pairs = contrast(300, EFFECT, seed=4, shuffled=True)
    contrary = ArrayPairs(
        residual={view: pairs.residual(view, 1)[:, :, None] for view in ("yes", "no")}, label=~pairs.label
    )
    unlabelled = ArrayPairs(residual={view: pairs.residual(view, 1)[:, :, None] for view in ("yes", "no")})
    assert fitted.reads_test_labels == (fitted.protocol == "paper")
    if fitted.protocol == "paper":
        assert fitted.predict_proba(contrary) == pytest.approx(1 - fitted.predict_proba(pairs))
        assert fitted.published_accuracy(contrary) == pytest.approx(fitted.published_accuracy(pairs), abs=1e-12)
        assert fitted.published_accuracy(pairs) > 0.5
        with pytest.raises(DataError, match="chooses its sign on their labels"):
            fitted.predict_proba(unlabelled)
    else:
        assert np.array_equal(fitted.predict_proba(contrary), fitted.predict_proba(pairs))
        assert np.array_equal(fitted.predict_proba(unlabelled), fitted.predict_proba(pairs))


def test_the_gradient_that_is_written_out_is_that_of_the_loss():
    torch.manual_seed(1)
    logits = (3 * torch.randn(8, 5, dtype=torch.float64)).requires_grad_()
    share = torch.rand(4, 1, dtype=torch.float64)
    (share * _losses(*torch.sigmoid(logits).chunk(2))).sum().backward()
    found = _slopes(torch.sigmoid(logits.detach()), share)
    assert torch.allclose(found, logits.grad, rtol=1e-9, atol=1e-12)


def test_copies_of_pairs_weigh_as_much_as_there_are_of_them():
    """Fits on pairs that are all there twice are those on the pairs; where some are there more often, they are not."""
    settings = {"epochs": 50, "restarts": 2, "seeds": 2}
    once = contrast(40, EFFECT, seed=6)
    twice, skewed = (once.take(rows) for rows in (np.tile(np.arange(40), 2), np.r_[np.arange(40), np.repeat(3, 40)]))
    own, same, other = (ContrastConsistentSearch(**settings).fit(pairs).weights_ for pairs in (once, twice, skewed))
    assert own == pytest.approx(same, abs=1e-4)
    assert np.abs(own - other).max() > 0.01


def test_the_sign_rests_on_the_sources_labels():
    pairs = contrast(100, 3.0, seed=5)
    turned = ArrayPairs(residual={view: pairs.residual(view, 1)[:, ::-1, None] for view in ("yes", "no")})
    probes = [ContrastConsistentSearch(epochs=300, restarts=2, seeds=2).fit(source) for source in (pairs, turned)]
    signs = [[calibrator.sign for calibrator in probe.calibrators_] for probe in probes]
    assert signs[0] == [-sign for sign in signs[1]]
    assert all(probe.out_of_fold_accuracy() > 0.9 for probe in probes)
    assert np.mean(probes[0].predict_proba(pairs) > 0.5) > 0.9 < np.mean(probes[1].predict_proba(turned) > 0.5)


def test_paper_fits_on_the_first_examples_only():
    pairs = contrast(60, EFFECT, seed=6)
    settings = {"protocol": "paper", "epochs": 20, "restarts": 2, "published_examples": 30}
    first = ContrastConsistentSearch(**settings).fit(pairs.take(np.arange(30)))
    assert np.array_equal(ContrastConsistentSearch(**settings).fit(pairs).weights_, first.weights_)


def test_paper_fits_on_texts_drawn_with_replacement_and_centred_by_their_own_mean():
    class Watched(ContrastConsistentSearch):
        def _search(self, texts, seeds):
            self.texts = texts
            super()._search(texts, seeds)

    pairs = contrast(60, EFFECT, seed=6)
    fitted = Watched(protocol="paper", epochs=1, restarts=1, published_examples=30).fit(pairs)
    assert fitted.texts.shape == (2, 60, 6)
    assert fitted.texts.mean(axis=1) == pytest.approx(0, abs=1e-6)
    # 60 draws of 60 texts leave about 1 / e of them out.
    assert 30 < len(np.unique(fitted.texts[0], axis=0)) < 46


def test_one_pair_of_each_test_example_decides_means_sign_and_published_accuracy():
    fitted = ContrastConsistentSearch(protocol="paper", epochs=200, restarts=2).fit(contrast(100, 2.0, seed=1))
    pairs = contrast(30, 2.0, seed=2, shuffled=True)
    surest = np.argmax(np.abs(fitted.predict_proba(pairs) - 0.5))
    repeated = pairs.take(np.concatenate([np.arange(30), np.full(100, surest)]))
    assert 0.5 < fitted.published_accuracy(repeated) == fitted.published_accuracy(pairs) < 1
    assert fitted.predict_proba(repeated)[:30] == pytest.approx(fitted.predict_proba(pairs), abs=1e-6)


def test_restarts_fitted_at_once_are_those_fitted_alone():
    """Each restart is a torch.nn.Linear with its own AdamW, as in the published code."""
    import torch

    pairs = contrast(40, EFFECT, seed=7)
    probe = ContrastConsistentSearch(epochs=50, restarts=1, seeds=2, seed=3).fit(pairs)
    yes, no = (torch.from_numpy(pairs.residual(view, 1).reshape(-1, 6)) for view in ("yes", "no"))
    yes, no = yes - yes.mean(0), no - no.mean(0)
    linear = torch.nn.Linear(6, 1)
    start = _start(3, 1, 6, 1)
    assert start.abs().max() <= 6**-0.5 and not torch.equal(start, _start(3, 0, 6, 1))
    with torch.no_grad():
        linear.weight.copy_(start[:6].T)
        linear.bias.copy_(start[6])
    optimizer = torch.optim.AdamW(linear.parameters(), lr=1e-3, weight_decay=0.01)
    for _ in range(50):
        p_yes, p_no = torch.sigmoid(linear(yes)), torch.sigmoid(linear(no))
        loss = (torch.minimum(p_yes, p_no) ** 2).mean() + ((p_yes - (1 - p_no)) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert probe.weights_[1] == pytest.approx(linear.weight.detach().numpy()[0], abs=1e-5)


def test_of_each_seed_the_restart_with_the_lowest_loss_is_kept():
    pairs = contrast(40, EFFECT, seed=8)
    # A step this small leaves the starts where they are.
    settings = {"epochs": 1, "restarts": 8, "seeds": 2, "learning_rate": 1e-12, "weight_decay": 0.0, "seed": 1}
    probe = ContrastConsistentSearch(**settings).fit(pairs)
    yes, no = (pairs.residual(view, 1).reshape(-1, 6) for view in ("yes", "no"))
    for number in range(2):
        starts = _start(1, number, 6, 8).numpy()
        p_yes, p_no = (expit((texts - texts.mean(0)) @ starts[:6] + starts[6]) for texts in (yes, no))
        losses = np.mean(np.minimum(p_yes, p_no) ** 2 + (p_yes - (1 - p_no)) ** 2, axis=0)
        assert probe.loss_[number] == pytest.approx(losses.min(), rel=1e-5)
        assert probe.weights_[number] == pytest.approx(starts[:6, np.argmin(losses)], abs=1e-6)
        assert losses.min() < np.sort(losses)[1]
