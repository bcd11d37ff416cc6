"""Scores of new text by saved fits: those that the run gave to the same texts."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from helpers import save_model

import genies
from genies.api.fitted import SCORE_COLUMNS
from genies.data.distributions import Example, read_split
from genies.data.pairs import test_pairs as pairs_of
from genies.errors import ConfigError, DataError, GeniesError, ModelError, StoreError
from genies.files import read_json
from genies.interventions.logistic import Logistic
from genies.interventions.mms import MassMeanShift
from genies.interventions.registry import make

FITS = Path("results/python/interventions/tiny")
EVALUATIONS = Path("results/python/evaluations/tiny")
NEW = (["Tell me about red Peru .\n"], [("Lima .", "Oslo .")])

pytestmark = pytest.mark.usefixtures("table")


def test_texts(examples: list[Example]) -> tuple[list[str], list[tuple[str, str]]]:
    """Prompts and (best, worse) responses of all test pairs."""
    pairs = pairs_of(examples)
    prompts = [examples[pair.example].prompt for pair in pairs]
    texts = [examples[pair.example].responses for pair in pairs]
    return prompts, [(own[pair.best], own[pair.worse]) for own, pair in zip(texts, pairs, strict=True)]


test_texts.__test__ = False


@pytest.mark.parametrize("name", ["random", "zero_shot", "mms", "cra", "lat_stim_1", "own_probe", "few_shot", "lora"])
def test_new_text_gets_the_scores_that_the_run_gave_to_it(name: str) -> None:
    prompts, responses = test_texts(read_split(Path("data/south/test.json")))
    manifest = FITS / name / "north.json" if (FITS / name).is_dir() else FITS / f"{name}.json"
    scored = genies.load_intervention(manifest, "tiny", source="north").score(prompts, responses)
    expected = pl.read_parquet(EVALUATIONS / name / "north.parquet").filter(pl.col("target") == "south")
    assert dict(scored.schema) == SCORE_COLUMNS
    # Single precision, the texts being packed in other rows than in the run.
    columns = {"probability": "probability", "score_first": "score_best", "score_second": "score_worse"}
    for ours, theirs in columns.items():
        assert scored[ours].to_numpy() == pytest.approx(expected[theirs].to_numpy(), rel=1e-4, abs=1e-4)
    if name != "random":
        assert scored["score_first"].n_unique() > 4


@pytest.mark.parametrize("name", ["zero_shot", "mms", "cra", "lat_stim_1", "few_shot", "lora"])
def test_new_single_texts_get_the_scores_that_the_run_gave_to_them(name: str) -> None:
    prompts, responses = test_texts(read_split(Path("data/south/test.json")))
    manifest = FITS / name / "north.json" if (FITS / name).is_dir() else FITS / f"{name}.json"
    scorer = genies.load_intervention(manifest, "tiny", source="north")
    expected = pl.read_parquet(EVALUATIONS / name / "north.parquet").filter(pl.col("target") == "south")
    for side, number in (("best", 0), ("worse", 1)):
        scored = scorer.score_texts(prompts, [pair[number] for pair in responses])["score"]
        assert scored.to_numpy() == pytest.approx(expected[f"{side}_text_score"].to_numpy(), rel=1e-3, abs=1e-3)
        assert scored.n_unique() > 4
    within = name in ("zero_shot", "few_shot", "lora")
    assert set(expected["text_scores_compare"]) == {"within a prompt" if within else "across prompts"}
    assert expected.group_by("example", "worse_text").len()["len"].max() == 1


def test_what_scores_no_single_texts_says_why() -> None:
    for name, reason in (("random", "it prefers nothing"), ("own_probe", "it declares no scores of single texts")):
        scorer = genies.load_intervention(FITS / f"{name}.json", "tiny", source="north")
        with pytest.raises(ConfigError, match=f"has no scores of single texts: {reason}"):
            scorer.score_texts(["who ?"], ["Rome ."])
    with pytest.raises(DataError, match="a response for each"):
        scorer.score_texts(["who ?"], ["Rome .", "Oslo ."])


def test_a_fit_is_read_from_its_folder_too_and_the_model_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from genies.engine.decoder import Decoder

    loaded, load = [], Decoder.load
    monkeypatch.setattr(Decoder, "load", lambda *given, **named: loaded.append(1) or load(*given, **named))
    folder = Path("cache/interventions") / read_json(FITS / "mms.json")["fits"]["north"]
    scorer = genies.load_intervention(folder, "tiny")
    assert not loaded
    there = scorer.score(*NEW)
    back = scorer.score(NEW[0], [NEW[1][0][::-1]])
    assert loaded == [1]
    assert there["probability"][0] + back["probability"][0] == pytest.approx(1)
    assert there["score_first"][0] == pytest.approx(back["score_second"][0])


def test_features_are_extracted_as_they_were_for_the_fit() -> None:
    table = genies.evaluate_shifts(
        "tiny", "logistic", {"source": "north", "target": "south"}, distributions=["data/north", "data/south"],
        run="coarse", extraction={"dtype": "bfloat16", "layers": [1, 3], "heads": "none"},
    )  # fmt: skip
    prompts, responses = test_texts(read_split(Path("data/south/test.json")))
    scorer = genies.load_intervention("results/coarse/interventions/tiny/logistic.json", "tiny", source="north")
    probability = scorer.score(prompts, responses)["probability"]
    assert scorer.intervention.layer_ in (1, 3)
    assert float((probability > 0.5).mean()) == table["generalization_accuracy"][0]
    # In bfloat16 rows of another shape round by some thousandths.
    expected = pl.read_parquet("results/coarse/evaluations/tiny/logistic/north.parquet")
    expected = expected.filter(pl.col("target") == "south")["probability"].to_numpy()
    assert probability.to_numpy() == pytest.approx(expected, abs=1e-2) and probability.n_unique() > 4


def test_prompts_are_shown_in_the_chat_template_of_the_fit() -> None:
    template = "<s>{% for turn in messages %}question : {{ turn.content }}{% endfor %}answer :"
    (Path("tiny") / "chat_template.jinja").write_text(template)
    for form in ("chat", "published"):
        genies.evaluate_shifts(
            "tiny", "zero_shot", {"source": "south", "target": "south"}, distributions=["data/south"], run=form,
            prompt_format=form,
        )  # fmt: skip
    prompts, responses = test_texts(read_split(Path("data/south/test.json")))
    scores = {
        run: genies.load_intervention(f"results/{run}/interventions/tiny/zero_shot.json", "tiny", source="south")
        .score(prompts, responses)["score_first"]
        .to_numpy()
        for run in ("chat", "published")
    }
    chat = pl.read_parquet("results/chat/evaluations/tiny/zero_shot/south.parquet")["score_best"].to_numpy()
    assert scores["chat"] == pytest.approx(chat, rel=1e-4)
    assert np.abs(scores["chat"] - scores["published"]).min() > 1e-3  # rounding changes them by a hundredth of this


def test_a_probe_fitted_on_arrays_scores_new_text() -> None:
    store = genies.open_store("results/python/activations/tiny/0.json", "data/north", "train")
    rows = np.stack([store.texts.filter(pl.col("best") == side)["row"].to_numpy() for side in (True, False)], 1)
    probe = MassMeanShift(seed=3).fit(genies.ArrayPairs(heads={"plain": store.heads("plain")[rows]}))
    genies.save_intervention(probe, "my_probe")
    mine = genies.load_intervention("my_probe", "tiny").score(*NEW)
    theirs = genies.load_intervention(FITS / "mms.json", "tiny", source="north").score(*NEW)
    assert mine.equals(theirs)


def test_a_fit_is_refused_another_model(tmp_path: Path) -> None:
    other = save_model(tmp_path / "other", "gpt_neox")
    for fit in (FITS / "mms.json", FITS / "zero_shot.json", FITS / "lora/north.json"):
        with pytest.raises(ModelError, match=r"was fitted on tiny; the weights or the tokenizer of .*other are others"):
            genies.load_intervention(fit, other, source="north")
    shutil.copytree("tiny", "retokenized")
    file = Path("retokenized/tokenizer.json")
    file.write_text(file.read_text().replace("mountain", "hill"))
    with pytest.raises(ModelError, match="the weights or the tokenizer of retokenized are others"):
        genies.load_intervention(FITS / "mms.json", "retokenized", source="north")


@pytest.mark.parametrize(("kind", "feature"), [("logistic", "residual"), ("mms", "heads"), ("ccs", "residual")])
def test_a_fit_on_arrays_of_another_width_is_refused(kind: str, feature: str) -> None:
    rng = np.random.default_rng(0)
    shape = (20, 2, 4, 40) if feature == "residual" else (20, 2, 3, 4, 10)
    views = ("yes", "no") if kind == "ccs" else ("plain",)
    pairs = genies.ArrayPairs(**{feature: {view: rng.standard_normal(shape) for view in views}})
    genies.save_intervention(make(kind).fit(pairs), "wide")
    with pytest.raises(DataError, match=rf"{shape[-1] - (8 if feature == 'residual' else 2)} numbers wide, .* on"):
        genies.load_intervention("wide", "tiny").score(*NEW)


def test_a_fit_on_more_layers_than_the_model_has_is_refused() -> None:
    probe = Logistic()
    values = {"layer": 7, "calibrator": {"slope": 1.0, "intercept": 0.0}, "out_of_fold": None, "ties": [0, 0]}
    probe.set_state({"weights": np.zeros(32)}, values)
    genies.save_intervention(probe, "deep")
    with pytest.raises(StoreError, match="holds residual of the layers 0, 1, 2, 3, not 7"):
        genies.load_intervention("deep", "tiny").score(*NEW)
    with pytest.raises(DataError, match="residual, view plain has the layers 0 to 3, not 7"):
        probe.predict_proba(genies.ArrayPairs(residual={"plain": np.zeros((2, 2, 4, 32))}))


@pytest.mark.parametrize(
    ("prompts", "responses", "message"),
    [
        ([], [], "give at least one prompt"),
        (["who ?", "what ?"], [("a", "b")], "a pair of responses for each"),
        ("who ?", [("a", "b")] * 5, "a pair of responses for each"),
        (["who ?", "what ?"], [("a", "b"), "ab"], r"pair 1 \(counted from 0\) is 'ab'; give two responses"),
        (["who ?"], [("a", "b", "c")], "give two responses, both strings"),
        (["who ?", "river " * 600], [("Rome .", "Oslo .")] * 2, r"pair 1 .* is \d+ tokens longer than the context"),
    ],
)
def test_new_text_that_cannot_be_scored_is_named(prompts: list, responses: list, message: str) -> None:
    with pytest.raises(DataError, match=message):
        genies.load_intervention(FITS / "mms.json", "tiny", source="north").score(prompts, responses)


def test_what_is_no_usable_fit_is_named() -> None:
    def refused(error: type[GeniesError], message: str, *given: object, **named: object) -> None:
        with pytest.raises(error, match=message):
            genies.load_intervention(*given, **named)

    refused(ConfigError, "names several fits; give one of these as source: north, south", FITS / "mms.json", "tiny")
    refused(ConfigError, "has no fit on west; give one of", FITS / "mms.json", "tiny", source="west")
    refused(StoreError, "absent.json: file not found", FITS / "absent.json", "tiny")
    refused(StoreError, "intervention.json: missing", "tiny", "tiny")
    refused(ModelError, "/absent: model folder not found", FITS / "mms.json", "/absent", source="north")
    weights = Path("cache/interventions") / read_json(FITS / "mms.json")["fits"]["north"] / "weights.safetensors"
    os.truncate(weights, 100)
    refused(StoreError, "weights.safetensors: missing, or not the file", FITS / "mms.json", "tiny", source="north")


def test_a_published_rule_that_reads_test_labels_is_refused() -> None:
    rng = np.random.default_rng(0)
    views = {view: rng.standard_normal((20, 2, 4, 32)) for view in ("yes", "no")}
    genies.save_intervention(
        make("ccs", {"protocol": "paper", "epochs": 5, "restarts": 2}).fit(genies.ArrayPairs(residual=views)), "paper"
    )
    with pytest.raises(ConfigError, match="protocol paper predicts from the labels"):
        genies.load_intervention("paper", "tiny")
