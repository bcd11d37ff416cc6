"""A job over several sources: it loads its model once, and every source gets the bits that a job of its own gives."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import transformers
from helpers import save_model, save_reward_model, write_distribution
from torch.optim.optimizer import register_optimizer_step_post_hook
from tqdm import tqdm
from transformers import PreTrainedModel

from genies.cli import main
from genies.errors import ConfigError, DataError, ModelError, StoreError
from genies.evaluation.records import REWARD_MODELS, TEXTS
from genies.files import read_json, write_json
from genies.interventions import registry
from genies.interventions.text import TextIntervention, TextPairs
from genies.interventions.training.loaded import LoadedModel
from genies.models.describe import describe_model
from genies.spent import SPENT_FILE
from genies.stages.gather import gather_sources
from genies.stages.records import write_records
from genies.stages.tokenize import tokenize_splits
from genies.stages.tune import tune_sources

SOURCES = tuple("abcde")
STEPS = 3
TRAINED = {"steps": STEPS, "pairs_per_step": 4, "seed": 5}
OWN = str(Path(__file__).with_name("lora_with_biases.py"))
MANIFESTS = {"model": Path("model.json"), "tokens": Path("tokens.json")}
PARAMETERS = {
    "lora": {**TRAINED, "rank": 2, "learning_rate": 0.01, "checkpoint_steps": 1},
    "prompt_tuning": {**TRAINED, "virtual_tokens": 2, "start": "vocabulary", "learning_rate": 0.02},
    "full_finetune": {**TRAINED, "learning_rate": 0.003},
    "few_shot": {"shots": 2},
    "reward_model": {"model": "reward-model"},
    OWN: {**TRAINED, "rank": 2, "learning_rate": 0.01},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, a reward model, the sources, and the manifests of model and tokens."""
    folder = tmp_path_factory.mktemp("jobs")
    # Of a family with biases, and with layers that PEFT transposes.
    save_model(folder / "tiny", "gpt2", layers=2)
    save_reward_model(folder / "reward-model")
    for number, name in enumerate(SOURCES):
        write_distribution(folder / "data" / name, train=8, test=4, offset=31 * number)
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        write_json(Path("model.json"), describe_model("tiny", None, Path("sha256.json")))
        files = {split: [Path("data", name, f"{split}.json") for name in SOURCES] for split in ("train", "test")}
        tokenize_splits(model=Path("model.json"), **files, cache=Path(), output=Path("tokens.json"))
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it as the working directory."""
    shutil.copytree(made, tmp_path / "jobs")
    monkeypatch.chdir(tmp_path / "jobs")
    return tmp_path / "jobs"


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by a class's name whenever transformers loads a model."""
    found: list[str] = []
    original = PreTrainedModel.from_pretrained.__func__

    def counting(cls: type, *arguments: object, **options: object) -> object:
        found.append(cls.__name__)
        return original(cls, *arguments, **options)

    monkeypatch.setattr(PreTrainedModel, "from_pretrained", classmethod(counting))
    return found


@pytest.fixture
def steps() -> Iterator[list[int]]:
    """Grows with every optimizer step."""
    taken: list[int] = []
    handle = register_optimizer_step_post_hook(lambda *_: taken.append(1))
    yield taken
    handle.remove()


def targets_of(source: str) -> list[str]:
    """Itself and its neighbour."""
    return [source, SOURCES[(SOURCES.index(source) + 1) % len(SOURCES)]]


def files_of(sources: Sequence[str]) -> tuple[list[str], dict[str, list[Path]]]:
    """Pairs of source and target, and the files of their splits."""
    targets = {source: targets_of(source) for source in sources}
    tested = sorted({target for names in targets.values() for target in names})
    train = [Path("data", source, "train.json") for source in sources]
    pairs = [f"{source}:{target}" for source, names in targets.items() for target in names]
    return pairs, {"train": train, "test": [Path("data", target, "test.json") for target in tested]}


def tune(intervention: str, sources: Sequence[str], cache: Path, output: Path) -> None:
    pairs, files = files_of(sources)
    tune_sources(
        intervention, *pairs, parameters=PARAMETERS[intervention], **MANIFESTS, **files, device="cpu", cache=cache,
        output=output,
    )  # fmt: skip


def contents(*folders: Path) -> dict[str, bytes]:
    """Every file below the folders, but for locks, by its path."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for folder in folders
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not {".locks", "groups", SPENT_FILE} & set(file.relative_to(folder).parts)
    }


@pytest.mark.parametrize(
    ("intervention", "count"),
    [
        (name, 3 if name == "lora" else 2)
        if name in ("lora", "few_shot")
        else pytest.param(name, 2, marks=pytest.mark.long)
        for name in PARAMETERS
    ],
    ids=[Path(name).stem for name in PARAMETERS],
)
def test_a_job_loads_once_and_gives_the_bytes_of_a_job_for_each_source(
    intervention: str, count: int, folder: Path, loads: list[str], steps: list[int]
) -> None:
    name, trained = registry.name_of(intervention), SOURCES[:count]
    made = {}
    for jobs, groups in {"one": [trained], "several": [(source,) for source in trained]}.items():
        loads.clear()
        cache, results = folder / jobs / "cache", folder / jobs / "results"
        manifests = [results / "interventions/tiny" / name / "groups" / f"{n}.json" for n in range(len(groups))]
        for sources, manifest in zip(groups, manifests, strict=True):
            tune(intervention, sources, cache, manifest)
        gather_sources(*manifests, cache=cache, output=results)
        # What changes the model's own weights cannot use them again.
        assert len(loads) == (count if jobs == "several" or intervention in ("full_finetune", OWN) else 1)
        made[jobs] = contents(cache / "interventions", results)
    assert made["one"] == made["several"]
    kinds = {Path(file).parts[0] for file in made["one"]}
    assert {"evaluations", "interventions"} < kinds
    assert sum(file.endswith(f"{name}/{source}.parquet") for file in made["one"] for source in trained) == count
    assert len(steps) == (2 * STEPS * count if "steps" in PARAMETERS[intervention] else 0)
    loads.clear()
    tune(intervention, trained, folder / "one/cache", folder / "again.json")
    assert not loads


@pytest.mark.long
def test_killed_in_the_fourth_training_a_job_goes_on_with_the_fourth(
    folder: Path, loads: list[str], steps: list[int]
) -> None:
    pairs, files = files_of(SOURCES)
    command = [
        "tune", "lora", *pairs,
        "--parameters", json.dumps(PARAMETERS["lora"]), "--model", "model.json", "--tokens", "tokens.json",
        "--train", *map(str, files["train"]), "--test", *map(str, files["test"]), "--device", "cpu",
        "--output", "tuned.json",
    ]  # fmt: skip
    program = Path(__file__).with_name("killed_command.py")
    killed = subprocess.run(
        [sys.executable, str(program), str(3 * STEPS + 2), *command], capture_output=True, text=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert killed.stderr.count("model loaded") == 1
    assert not Path("tuned.json").exists()
    assert len(list(Path("cache/interventions").glob("*/intervention.json"))) == 3
    assert main(command) == 0
    # The fourth had a checkpoint after its first step.
    assert len(steps) == (len(SOURCES) - 3) * STEPS - 1
    assert len(loads) == 1
    tune("lora", SOURCES, folder / "undisturbed", folder / "undisturbed.json")
    assert contents(Path("cache/interventions")) == contents(Path("undisturbed/interventions"))
    assert read_json(Path("tuned.json")) == read_json(Path("undisturbed.json"))


def test_a_source_that_fails_is_named_and_those_before_it_are_kept(folder: Path, steps: list[int]) -> None:
    write_json(Path("data/d/train.json"), read_json(Path("data/d/train.json"))[:1])
    with pytest.raises(DataError, match=r"^few_shot on d: data/d/train.json: cannot be fitted: training pairs: 1 dis"):
        tune("few_shot", SOURCES, Path("cache"), Path("tuned.json"))
    assert len(list(Path("cache/interventions").glob("*/intervention.json"))) == 3
    assert not Path("tuned.json").exists()
    with pytest.raises(ConfigError, match=r"^lora on a: .*lower the learning rate"):
        parameters = PARAMETERS["lora"] | {"learning_rate": 1e18, "max_grad_norm": 1e18}
        pairs, files = files_of("ab")
        tune_sources(
            "lora", *pairs, parameters=parameters, **MANIFESTS, **files, device="cpu", output=Path("tuned.json")
        )


def test_nothing_is_kept_of_a_model_whose_files_have_changed(folder: Path) -> None:
    weights = folder / "tiny/model.safetensors"
    tune("few_shot", "a", folder / "cache", folder / "first.json")
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    with pytest.raises(ModelError, match="few_shot on b: .*model.safetensors: has changed since the rule `model`"):
        tune("few_shot", "b", folder / "cache", folder / "second.json")
    assert len(list((folder / "cache/interventions").glob("*/intervention.json"))) == 1


def test_an_edit_of_one_source_trains_that_one_alone(folder: Path, steps: list[int]) -> None:
    tune("lora", "abc", Path("cache"), Path("tuned.json"))
    before = read_json(Path("tuned.json"))
    file = Path("data/c/train.json")
    write_json(file, read_json(file)[:-1])
    steps.clear()
    tune("lora", "abc", Path("cache"), Path("tuned.json"))
    assert len(steps) == STEPS
    after = read_json(Path("tuned.json"))
    assert {source for source in "abc" if after["fits"][source] != before["fits"][source]} == {"c"}
    assert after["tests"] == before["tests"]


def test_a_test_that_is_gone_is_named_with_what_to_do(folder: Path) -> None:
    manifest = Path("results/interventions/tiny/lora/groups/0.json")
    tune("lora", "ab", Path("cache"), manifest)
    next(Path("cache").rglob("tests/*.parquet")).unlink()
    with pytest.raises(StoreError, match=rf"missing or damaged; delete {manifest}, .* run snakemake again"):
        gather_sources(manifest, output=Path("results"))


def test_what_a_judges_order_decides_is_in_a_table_with_how_it_was_asked(folder: Path) -> None:
    """Whichever source it comes after; and what decides nothing of its own is in none of the other tables."""
    parameters = {
        "model": "tiny", "format": "judge", "template": "{prompt} one : {first} two : {second} which ?",
        "answers": ["one", "two"],
    }  # fmt: skip
    pairs, files = files_of("ab")
    manifest = Path("results/interventions/tiny/reward_model/groups/0.json")
    tune_sources("reward_model", *pairs, parameters=parameters, **MANIFESTS, **files, device="cpu", output=manifest)
    gather_sources(manifest, output=Path("results"))
    written = [manifest.parents[1] / f"{source}.json" for source in "ab"]
    write_records(tokens=[Path("tokens.json")], tuned=written, output=Path("results"))
    rows = REWARD_MODELS.read(Path("results"))
    assert rows["source"].to_list() == [*"aabb"] and rows["distribution"].to_list() == [*"abbc"]
    assert set(rows["format"]) == {"judge"} and set(rows["written"]) == {"text"}
    assert set(rows["library"]) == {f"transformers {transformers.__version__}"} and set(rows["texts"]) == {3}
    assert (rows["difference"] < 1e-5).all() and (rows["judged"] > 3).all()
    assert (rows["order_decides"] <= rows["judged"]).all() and rows["toward_first"].is_not_null().all()
    judged = rows.select("judged", "order_decides", "toward_first")
    assert judged.row(1) == pytest.approx(judged.row(2), abs=1e-6)
    assert not TEXTS.read(Path("results"))["intervention"].is_not_null().any()


def test_a_reward_models_chat_template_without_end_is_refused_before_it_is_used(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genies.models.trial.SECONDS", 2)
    endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    Path("reward-model/chat_template.jinja").write_text(endless)
    with pytest.raises(ModelError, match="reward-model: its tokenizer or chat template takes more than 2 s"):
        tune("reward_model", "a", Path("cache"), Path("manifest.json"))


def test_interventions_that_share_a_model_do_not_disturb_each_other(
    folder: Path, planted_texts: Callable[[int, int], TextPairs], loads: list[str]
) -> None:
    described, pairs, held_out = read_json(Path("model.json")), planted_texts(16, 1), planted_texts(16, 2)
    shared = LoadedModel()

    def fit(rank: int, loaded: LoadedModel | None) -> TextIntervention:
        made = registry.make("lora", PARAMETERS["lora"] | {"rank": rank})
        made.loaded_model = loaded
        return made.bind(described, "cpu").fit(pairs)

    alone = [fit(rank, None).decision_function(held_out) for rank in (1, 2)]
    loads.clear()
    together = [fit(rank, shared) for rank in (1, 2)]
    assert len(loads) == 1
    for one, expected in zip(together, alone, strict=True):
        assert np.array_equal(one.decision_function(held_out), expected)


def test_progress_names_model_intervention_and_source(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels: list[str] = []

    def noted(*arguments: object, **options: object) -> tqdm:
        labels.append(options["desc"])
        return tqdm(*arguments, **options)

    for module in ("interventions.training.loop", "engine.scoring"):
        monkeypatch.setattr(f"genies.{module}.tqdm", noted)
    tune("lora", "ab", Path("cache"), Path("tuned.json"))
    assert labels == [
        "tiny lora on a", "tiny lora on a → a, b", "tiny lora on b", "tiny lora on b → b, c",
    ]  # fmt: skip
