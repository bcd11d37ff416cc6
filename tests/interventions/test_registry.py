"""Interventions by name and by file; saving and loading; what every intervention promises."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from genies.digests import code_digest
from genies.engine.reads import declares
from genies.errors import ConfigError, StoreError
from genies.files import read_sealed, write_sealed
from genies.interventions import registry
from genies.interventions.arrays import ArrayPairs
from genies.interventions.mms import MassMeanShift
from genies.interventions.steps.direction_probe import DirectionProbe
from genies.interventions.steps.split import folds, split_pairs
from genies.interventions.text import TextIntervention

OWN = str(Path(__file__).with_name("own_probe.py"))
FAST = {"ccs": {"epochs": 20, "restarts": 2}}
OF_FEATURES = [name for name in registry.available() if not issubclass(registry.load_class(name), TextIntervention)]
NAMES = [*OF_FEATURES, OWN]
ALL = pytest.mark.parametrize("name", NAMES, ids=lambda name: Path(name).stem)
PROTOCOLS = pytest.mark.parametrize("protocol", ["corrected", "paper"])


def make(name: str, **parameters):
    return registry.make(name, {**FAST.get(name, {}), **parameters})


@pytest.fixture(scope="module")
def small(planted):
    return planted(24, effect=1.0, seed=8)


@pytest.fixture(scope="module")
def tests(planted):
    return planted(50, effect=1.0, seed=9, shuffled=True)


@ALL
@PROTOCOLS
def test_a_loaded_intervention_predicts_as_the_saved_one_bit_for_bit(name, protocol, small, tests, tmp_path):
    fitted = make(name, protocol=protocol).fit(small)
    registry.save(fitted, tmp_path / "fit")
    loaded = registry.load(tmp_path / "fit")
    assert loaded.get_params() == fitted.get_params()
    assert np.array_equal(loaded.predict_proba(tests), fitted.predict_proba(tests))
    assert np.array_equal(loaded.decision_function(tests), fitted.decision_function(tests))
    assert sorted(path.name for path in (tmp_path / "fit").iterdir()) == ["intervention.json", "weights.safetensors"]


@ALL
@PROTOCOLS
def test_the_same_seed_gives_the_same_intervention(name, protocol, small, tests):
    probabilities = [make(name, protocol=protocol, seed=7).fit(small).predict_proba(tests) for _ in range(2)]
    assert np.array_equal(*probabilities)


@ALL
def test_probabilities_of_a_pair_in_its_two_orders_sum_to_one(name, small, tests):
    fitted = make(name).fit(small)
    there, back = fitted.predict_proba(tests), fitted.predict_proba(tests.swapped())
    assert there + back == pytest.approx(1, abs=1e-12)
    assert fitted.decision_function(tests)[:, ::-1] == pytest.approx(fitted.decision_function(tests.swapped()))


@ALL
def test_probabilities_and_scores_have_the_promised_shape_and_agree(name, small, tests):
    fitted = make(name).fit(small)
    probability, scores = fitted.predict_proba(tests), fitted.decision_function(tests)
    assert (probability.shape, probability.dtype) == ((50,), np.float64)
    assert (scores.shape, scores.dtype) == ((50, 2), np.float64)
    assert np.array_equal(np.sign(scores[:, 0] - scores[:, 1]), np.sign(probability - 0.5))


@ALL
@PROTOCOLS
def test_every_intervention_scores_single_texts_or_says_why_not(name, protocol, small, tests):
    """A text's score is the same whichever text it is compared with, and says which of two is preferred."""
    fitted = make(name, protocol=protocol).fit(small)
    if fitted.no_text_scores:
        with pytest.raises(ConfigError, match=rf"has no scores of single texts: {re.escape(fitted.no_text_scores)}"):
            fitted.score_texts(tests)
        return
    scores = fitted.score_texts(tests)
    assert (scores.shape, scores.dtype) == ((50, 2), np.float64) and len(np.unique(scores)) > 4
    assert fitted.score_texts(tests.swapped())[:, ::-1] == pytest.approx(scores, rel=1e-9, abs=1e-9)
    moved = np.roll(np.arange(50), 1)
    assert fitted.score_texts(tests.take(moved)) == pytest.approx(scores[moved], rel=1e-9, abs=1e-9)
    assert np.array_equal(fitted.score_texts(tests, fitted.decision_function(tests)), scores)
    agree = np.mean(np.sign(scores[:, 0] - scores[:, 1]) == np.sign(fitted.predict_proba(tests) - 0.5))
    # A published calibrator has an intercept, and a cosine divides the length of a difference out.
    assert agree > 0.75 if protocol == "paper" or isinstance(fitted, DirectionProbe) else agree == 1


def test_what_has_no_scores_of_texts_is_known():
    without = {name for name in OF_FEATURES if make(name).no_text_scores}
    within = {name for name in OF_FEATURES if make(name).text_scores_compare == "within a prompt"}
    assert (without, within) == ({"random"}, {"zero_shot", "implicit_reward"})
    for name in ("lora", "prompt_tuning", "full_finetune", "few_shot"):
        kind = registry.load_class(name)
        assert (kind.no_text_scores, kind.text_scores_compare) == ("", "within a prompt")
    judges = {form: registry.make("reward_model", {"model": "m", "format": "judge", "template": form})
              for form in ("pair", "grade")}  # fmt: skip
    assert judges["pair"].no_text_scores == "the judge compares two responses"
    assert (judges["grade"].no_text_scores, judges["grade"].text_scores_compare) == ("", "across prompts")
    assert registry.make("reward_model", {"model": "m"}).text_scores_compare == "within a prompt"
    assert "labels" in make("ccs", protocol="paper").no_text_scores


@pytest.mark.parametrize("name", ["cra", "lat_pca", "lat_stim_1", "lat_stim_2", "mms"])
def test_where_pairs_contradict_the_fits_without_them_nothing_is_sure(name, planted):
    """Two of five folds point the other way: each of them contradicts the others, and none of the others does."""
    contrary = np.concatenate(folds(np.arange(200), 42)[:2])
    pairs = planted(200, effect=2.0, seed=6, contrary=contrary)
    fitted = registry.make(name).fit(pairs)
    scores, probability = fitted.decision_function(pairs), fitted.predict_proba(pairs)
    assert np.abs(probability - 0.5).max() < 1e-4 and fitted.out_of_fold_accuracy() < 0.5
    assert np.array_equal(scores[:, 0] > scores[:, 1], probability > 0.5)
    others = np.setdiff1d(np.arange(200), contrary)
    assert np.mean(probability[contrary] > 0.5) < np.mean(probability[others] > 0.5)


def test_where_validation_pairs_contradict_the_published_fit_scores_and_probabilities_turn_together(planted):
    fit, validation = split_pairs(np.arange(200), 42)
    pairs = planted(200, effect=2.0, seed=6, contrary=validation)
    fitted = registry.make("mms", {"protocol": "paper"}).fit(pairs)
    scores, probability = fitted.decision_function(pairs), fitted.predict_proba(pairs)
    assert fitted.calibrator_.slope < 0 and abs(fitted.calibrator_.intercept) < 0.2
    assert np.mean(probability[validation] > 0.5) > 0.5 > np.mean(probability[fit] > 0.5)
    sure = np.abs(probability - 0.5) > 0.1
    assert np.array_equal((scores[:, 0] > scores[:, 1])[sure], (probability > 0.5)[sure])


@ALL
def test_an_intervention_reads_only_the_views_and_features_that_it_declares(name, small, tests):
    kind = registry.load_class(name)

    def only(pairs: ArrayPairs, views: tuple[str, ...]) -> ArrayPairs:
        reads = {view: kind.reads(view) for view in views}
        residual = {v: np.stack([pairs.residual(v, i) for i in range(4)], axis=2) for v in views}
        for view, read in reads.items():
            residual[view][:, :, [not read.inner] * 3 + [not read.final]] = np.nan
        referring = declares(kind.features, "reference_log_probability")
        return ArrayPairs(
            heads={v: np.stack([pairs.heads(v, i) for i in range(3)], axis=2) for v in views if reads[v].heads},
            residual={v: residual[v] for v in views if reads[v].inner or reads[v].final},
            log_probability=pairs.log_probability() if any(read.log_probability for read in reads.values()) else None,
            scored_tokens=pairs.scored_tokens(),
            texts=pairs.texts() if declares(kind.features, "texts") else None,
            reference_log_probability=pairs.reference_log_probability() if referring else None,
        )

    declared = make(name).fit(only(small, kind.fit_views)).predict_proba(only(tests, kind.predict_views))
    assert np.array_equal(declared, make(name).fit(small).predict_proba(tests))


def test_what_is_available_is_what_the_folder_holds_and_each_one_loads():
    assert {"mms", "zero_shot", "ccs"} <= {*OF_FEATURES} < {*registry.available()}
    for name in registry.available():
        assert registry.load_class(name).__module__ == registry.module_of(name) == f"genies.interventions.{name}"


def test_what_takes_a_seed_of_its_splits_is_drawn():
    """Further seeds are given to both parameters, and to what is drawn alone."""
    kinds = [registry.load_class(name) for name in registry.available()]
    assert not [kind for kind in kinds if not kind.drawn and "split_seed" in kind.parameter_names()]


def test_looking_interventions_up_imports_no_heavy_library():
    code = (
        "import sys, genies.interventions.registry as r; names = r.available(); "
        "assert not any(f'genies.interventions.{n}' in sys.modules for n in names); "
        "[r.load_class(n) for n in names]; "
        "print([m for m in ('torch', 'sklearn', 'scipy', 'transformers', 'safetensors', 'polars') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mmss", r"'mmss' is unknown \(near: mms"),
        ("lat_stim", r"near: lat_stim_[12], lat_stim_[12]"),
        ("base", "'base' is unknown"),
        ("../mms", "is unknown"),
        ("missing.py", "missing.py: file not found"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(name, message):
    with pytest.raises(ConfigError, match=message):
        registry.load_class(name)


def test_a_file_of_ones_own_is_named_by_its_stem_and_digested_with_what_it_imports():
    assert registry.name_of(OWN) == "own_probe"
    assert registry.load_class(OWN).__name__ == "LongerVector"
    assert code_digest(registry.module_of(OWN)) != code_digest(registry.module_of("mms"))
    assert len(Path(OWN).read_text().splitlines()) <= 30


def test_a_file_of_ones_own_learns_and_predicts(accuracy):
    rng = np.random.default_rng(0)
    features = rng.standard_normal((200, 2, 2, 8))
    features[:, 0, 1] *= 3
    pairs = ArrayPairs(residual={"plain": features}, label=np.ones(200, dtype=bool))
    assert accuracy(registry.make(OWN).fit(pairs).predict_proba(pairs), pairs.label) > 0.95


def test_an_edited_file_beside_ones_own_is_read_afresh_and_changes_the_digest(tmp_path):
    own, helper, package = tmp_path / "own.py", tmp_path / "steps_of_mine.py", tmp_path / "parts_of_mine"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "widths.py").write_text("WIDTH = 3\n")
    own.write_text(f"from parts_of_mine.widths import WIDTH\nfrom steps_of_mine import NAME\n{HEADER}{NAMED}")
    helper.write_text("NAME = 'first'\n")
    path, before = list(sys.path), code_digest(own)
    assert registry.load_class(str(own)).name == ("first", 3)
    helper.write_text("NAME = 'the second'\n")
    assert registry.load_class(str(own)).name == ("the second", 3)
    edited = code_digest(own)
    (package / "widths.py").write_text("WIDTH = 10 - 5\n")
    assert registry.load_class(str(own)).name == ("the second", 5)
    assert len({before, edited, code_digest(own)}) == 3
    assert sys.path == path and not {"steps_of_mine", "parts_of_mine", "parts_of_mine.widths"} & sys.modules.keys()


NAMED = "class Own(MassMeanShift):\n    name = (NAME, WIDTH)\n"
HEADER = "from genies.interventions.mms import MassMeanShift\nfrom genies.interventions.base import Intervention\n"


def test_a_package_without_init_beside_ones_own_is_read_afresh_and_is_that_of_its_folder(tmp_path):
    owns = []
    for folder, step in ((tmp_path / "a", 1), (tmp_path / "b", 2)):
        (folder / "nsp").mkdir(parents=True)
        (folder / "nsp/m.py").write_text(f"STEP = {step}\n")
        owns.append(folder / "own.py")
        owns[-1].write_text(f"from nsp import m\n{Path(OWN).read_text()}")
    steps = [sys.modules[registry.load_class(str(own)).__module__].m.STEP for own in owns]
    (tmp_path / "a/nsp/m.py").write_text("STEP = 30\n")
    steps += [sys.modules[registry.load_class(str(owns[0])).__module__].m.STEP]
    assert steps == [1, 2, 30]


@pytest.mark.parametrize("edited", ["own.py", "helper.py"])
def test_bytecode_of_an_earlier_edit_is_never_run_though_size_and_time_are_the_same(edited, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    (tmp_path / "helper.py").write_text("NAME = 'red'\n")
    (tmp_path / "own.py").write_text(f"from helper import NAME\nWIDTH = 'red'\n{HEADER}{NAMED}")
    before = registry.load_class(str(tmp_path / "own.py")).name
    file, time = tmp_path / edited, (tmp_path / edited).stat().st_mtime_ns
    file.write_text(file.read_text().replace("'red'", "'sea'"))
    os.utime(file, ns=(time, time))
    assert before == ("red", "red")
    assert "sea" in registry.load_class(str(tmp_path / "own.py")).name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER, "own.py: defines no subclass of genies.interventions.base.Intervention"),
        (HEADER + "class A(MassMeanShift): ...\nclass B(A): ...\n", r"own.py: defines 2 interventions \(A, B\)"),
        (HEADER + "class A(Intervention): ...\n", "own.py: A lacks decision_function, fit, get_state"),
        (
            "import no_such_module\n",
            "own.py: cannot be imported .ModuleNotFoundError: No module named 'no_such_module'",
        ),
        ("def f(:\n", "own.py: cannot be imported .SyntaxError"),
    ],
)
def test_a_file_without_exactly_one_intervention_is_refused(text, message, tmp_path):
    path = tmp_path / "own.py"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        registry.load_class(str(path))
    assert "\n" not in str(caught.value)


def test_two_files_of_one_name_stay_apart(tmp_path):
    kinds = []
    for folder, name in (("a", "First"), ("b", "Second")):
        path = tmp_path / folder / "own.py"
        path.parent.mkdir()
        path.write_text(HEADER + f"class {name}(MassMeanShift): ...\n")
        kinds.append(registry.load_class(str(path)))
    assert [kind.__name__ for kind in kinds] == ["First", "Second"]
    assert kinds[0].__module__ != kinds[1].__module__


def test_parameters_are_those_of_the_constructor_and_its_bases():
    assert registry.make("cra", {"alpha": 0.5, "kept": 3}).get_params() == {
        "alpha": 0.5,
        "kept": 3,
        "protocol": "corrected",
        "seed": 0,
        "split_seed": 42,
    }


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("cra", {"alpah": 1}, r"cra: parameter 'alpah' is unknown \(near: alpha\); it takes alpha, kept, protocol"),
        (OWN, {"sed": 1}, r"own_probe: parameter 'sed' is unknown \(near: seed\)"),
        ("mms", {"kept": 0}, "parameter kept: 0 is not an integer of at least 1"),
        ("mms", {"kept": 2.5}, "parameter kept: 2.5"),
        ("ccs", {"learning_rate": 0}, "learning_rate"),
    ],
)
def test_parameters_that_cannot_be_used_are_refused(name, parameters, message):
    with pytest.raises(ConfigError, match=message):
        registry.check_parameters(name, parameters)


def test_the_record_is_plain_json_with_the_parameters(small, tmp_path):
    registry.save(make("mms", kept=2).fit(small), tmp_path)
    record = json.loads((tmp_path / "intervention.json").read_text())
    assert record["intervention"] == "mms"
    assert record["parameters"]["kept"] == 2
    assert set(record["values"]["calibrator"]) == {"slope", "intercept"}


def test_a_damaged_or_missing_file_is_never_loaded(small, tmp_path):
    registry.save(make("mms").fit(small), tmp_path)
    weights = tmp_path / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(StoreError, match=r"not the file that intervention.json names"):
        registry.load(tmp_path)
    weights.unlink()
    with pytest.raises(StoreError, match=r"weights.safetensors: missing"):
        registry.load(tmp_path)


@pytest.mark.parametrize(("change", "message"), [({"format": 0}, "not format 3"), ({"values": {}}, "does not fit")])
def test_a_record_of_another_version_is_refused(change, message, small, tmp_path):
    registry.save(make("mms").fit(small), tmp_path)
    path = tmp_path / "intervention.json"
    write_sealed(path, {**read_sealed(path), **change})
    with pytest.raises(StoreError, match=message):
        registry.load(tmp_path)


def test_a_file_of_ones_own_that_moved_is_loaded_from_where_it_is_now(small, tests, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    old, new = tmp_path / "old.py", tmp_path / "new.py"
    old.write_text(Path(OWN).read_text())
    fitted = registry.make(str(old)).fit(small)
    registry.save(fitted, tmp_path / "fit")
    assert json.loads((tmp_path / "fit" / "intervention.json").read_text())["intervention"] == "old.py"
    old.rename(new)
    with pytest.raises(ConfigError, match=r"old.py: file not found"):
        registry.load(tmp_path / "fit")
    loaded = registry.load(tmp_path / "fit", str(new))
    assert np.array_equal(loaded.predict_proba(tests), fitted.predict_proba(tests))


def test_a_class_that_no_file_holds_cannot_be_saved(small, tmp_path):
    namespace = {"__name__": "__nowhere__", "MassMeanShift": MassMeanShift}
    exec("class Typed(MassMeanShift): ...", namespace)
    with pytest.raises(ConfigError, match="Typed: is not defined in a file"):
        registry.save(namespace["Typed"]().fit(small), tmp_path)


def test_an_unknown_view_of_an_own_intervention_is_answered_with_the_nearest(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(Path(OWN).read_text().replace('("plain",)', '("plan",)'))
    with pytest.raises(ConfigError, match=r"own\.py: reads a view 'plan', which is unknown .near: plain"):
        registry.load_class(str(file))


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ('("residual")', r"own\.py: features are 'residual', which is no tuple; write a comma: \('residual',\)"),
        ('{"plain": "residual"}', r"own\.py: features are 'residual', which is no tuple"),
        ('("head",)', r"own\.py: reads a feature 'head', which is unknown .near: heads.*; there are heads, residual,"),
        ('{"plain": ("residual", "text")}', r"own\.py: reads a feature 'text', which is unknown .near: texts"),
    ],
)
def test_an_unknown_feature_of_an_own_intervention_is_answered_with_the_nearest(features, message, tmp_path):
    file = tmp_path / "own.py"
    text = re.sub(r"features = .*", f"features = {features}", Path(OWN).read_text())
    assert features in text
    file.write_text(text)
    with pytest.raises(ConfigError, match=message) as refused:
        registry.load_class(str(file))
    assert "\n" not in str(refused.value)
