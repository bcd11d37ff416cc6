"""What ``genies estimate`` tells is what the stages then make."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers import FAMILY_SIZES, save_model, save_tokenizer, write_distribution
from hub import COMMIT

from genies.cli import main
from genies.config.load import read_config as read_configuration
from genies.costs.costs import Costs
from genies.costs.disk import write_rate
from genies.costs.estimate import estimate
from genies.costs.extraction import check_disk
from genies.costs.parts import operations
from genies.costs.rates import UTILISATION, Rate
from genies.costs.sketch import PUBLISHED_SHAPES, Sketch, published_config, read_config, trained_weights
from genies.costs.table import render
from genies.costs.trees import CHARACTERS_PER_TOKEN, Trees
from genies.engine.decoder import Decoder, Features
from genies.engine.forest import PackedBatch, build_tree
from genies.engine.options import Extraction
from genies.engine.reads import to_flags
from genies.engine.scoring import Scorer, lay_out
from genies.errors import ConfigError, DiskError, ModelError
from genies.files import read_json, write_json
from genies.interventions.registry import make
from genies.models.describe import describe_model
from genies.plan import Plan
from genies.stages.causal import write_causal
from genies.stages.extract import extract_distributions
from genies.stages.tokenize import tokenize_splits
from genies.stages.tune import tune_sources
from genies.store.activations import ActivationStore
from genies.store.blocks import METADATA_BYTES, data_bytes, store_bytes
from genies.store.extraction import Extractor
from genies.store.held import Held
from genies.store.splits import ShownSplit
from genies.store.tokens import METADATA_BYTES as TOKENS_METADATA

SOURCES = ("north", "south")
LORA = {"steps": 6, "pairs_per_step": 4, "rank": 2}


class Run:
    """A small run in a folder: its configuration, and its stages by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for number, name in enumerate(SOURCES):
            write_distribution(folder / "data" / name, offset=31 * number)
        save_model(folder / "tiny", "llama")
        shifts = [{"source": "north", "target": "south", "label": "extreme", "category": "place"}]
        (folder / "shifts.yaml").write_text(yaml.safe_dump(shifts))
        configuration = {
            "run": "mini",
            "models": ["tiny"],
            "distributions": [f"data/{name}" for name in SOURCES],
            "shifts": ["shifts.yaml"],
            "interventions": ["random", "zero_shot", "mms", "cra", "lora", "few_shot"],
            "intervention_parameters": {"lora": LORA},
            "capability_interventions": ["mms", "lora"],
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(configuration))

    def plan(self, *entries: str) -> Plan:
        return Plan(read_configuration([Path("config.yaml")], entries))

    def costs(self, *entries: str, shapes: tuple[str, ...] = (), tokenizer: Path | None = None) -> Costs:
        return estimate(read_configuration([Path("config.yaml")], entries), shapes, tokenizer, Rate())

    def make(self, options: Extraction, *entries: str) -> Extractor:
        """Tokenize and extract. Returns the extractor, which counts."""
        made: list[Extractor] = []
        plan = self.plan(*entries)
        views = {f"{split}_views": to_flags(reads) for split, reads in plan.methods.reads.items()}
        stored = {f"{split}_views": to_flags(reads) for split, reads in plan.reads("tiny").items()}
        worded = plan.worded("tiny")
        model, tokens = (plan.files.results / name / "tiny.json" for name in ("models", "tokens"))
        write_json(model, describe_model("tiny", None, plan.files.cache / "sha256.json"))
        train, test = plan.data.train(plan.selection.trained_on), plan.data.test(plan.selection.tested)
        tokenize_splits(
            model=model, train=train, test=test, **views, wordings=plan.config.wordings,
            worded_train=worded["train"], worded_test=worded["test"], reading=plan.reading, extraction=options,
            output=tokens,
        )  # fmt: skip
        with pytest.MonkeyPatch.context() as patched:
            remember = lambda *arguments: made.append(Extractor(*arguments)) or made[-1]  # noqa: E731
            patched.setattr("genies.stages.extract.Extractor", remember)
            output = plan.files.results / "activations.json"
            extract_distributions(*SOURCES, model=model, tokens=tokens, **stored, extraction=options, output=output)
        return made[0]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    return Run(tmp_path)


def size(folder: Path, pattern: str = "*") -> int:
    return sum(file.stat().st_size for file in folder.rglob(pattern) if file.is_file())


@pytest.mark.parametrize(
    ("dtype", "heads", "wordings"), [("float32", "all", 0), ("bfloat16", "none", 0), ("bfloat16", "[0, 2]", 2)]
)
def test_tokens_trees_and_bytes_are_those_that_tokenizing_and_extracting_then_make(
    run: Run, dtype: str, heads: str, wordings: int
) -> None:
    entries = f"extraction={{dtype: {dtype}, heads: {heads}}}", f"wordings={wordings}"
    (costs,) = run.costs(*entries).models
    assert {view for split in costs.splits for view in split.extracted} == {
        "plain", *(f"{view}{suffix}" for view in ("yes", "no") for suffix in ("", "_1", "_2")[: wordings + 1]),
    }  # fmt: skip
    worded = {(split.distribution, split.split) for split in costs.splits if "yes_1" in split.extracted}
    assert worded == ({("north", "train"), ("north", "test"), ("south", "test")} if wordings else set())
    chosen = (0, 2) if heads == "[0, 2]" else heads
    made = run.make(Extraction(dtype=dtype, heads=chosen, batch_tokens=300, device="cpu"), *entries)

    counted = made.statistics
    assert counted.tree_tokens == sum(split.trees.tokens for split in costs.splits) > 0
    assert counted.text_tokens == sum(split.tokens[view] for split in costs.splits for view in split.extracted)

    stores = [folder for folder in Path("cache/activations").iterdir() if not folder.name.startswith(".")]
    assert len(stores) == sum(len(split.extracted) for split in costs.splits)
    metadata = 0
    for folder in stores:
        store = ActivationStore(folder)
        texts = len(store.example)
        held = Held.from_json(store.description["digest"]["features"])
        shapes = held.shapes(made.decoder().shape)
        assert shapes == store.shapes
        shards = sum(size(folder / "data.zarr" / name / "c") for name in shapes)
        assert shards == data_bytes(shapes, dtype, texts)
        beside = METADATA_BYTES["store"] + METADATA_BYTES["block"] * store.blocks + METADATA_BYTES["text"] * texts
        assert store_bytes(shapes, dtype, texts) - beside < size(folder) <= store_bytes(shapes, dtype, texts)
        metadata += beside
    made_bytes = sum(map(size, stores))
    assert costs.disk["activations"] - metadata < made_bytes <= costs.disk["activations"]

    files = len(list(Path("cache/tokens").glob("*.h5")))
    assert costs.disk["tokens"] - files * TOKENS_METADATA < size(Path("cache/tokens")) <= costs.disk["tokens"]


def test_examples_beyond_the_limit_are_not_counted(run: Run) -> None:
    everything, limited = (run.costs(*given).models[0] for given in ((), ("limit={train: 5, test: 3}",)))
    assert {(split.split, split.examples) for split in everything.splits} == {("train", 12), ("test", 8)}
    assert {(split.split, split.examples) for split in limited.splits} == {("train", 5), ("test", 3)}
    assert sum(split.texts for split in limited.splits) < sum(split.texts for split in everything.splits)
    assert limited.parts[0].tokens < everything.parts[0].tokens / 2


def test_what_the_cache_has_is_read_from_it_and_needs_no_more_disk(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before = run.costs()
    run.make(Extraction(batch_tokens=300, device="cpu"))
    with monkeypatch.context() as patched:
        patched.setattr(ShownSplit, "tokens", lambda *_: 1 / 0)
        after = run.costs()
    assert after.models[0].splits == before.models[0].splits
    assert (before.models[0].stored, after.models[0].stored) == (0, before.models[0].disk["activations"])
    assert after.needed == before.needed - before.models[0].disk["activations"]
    assert run.costs("extraction={dtype: bfloat16}").models[0].stored == 0


@pytest.mark.parametrize("limit", ["limit={train: 5, test: 3}", "limit={train: 9, test: 7}"])
def test_what_the_cache_has_of_a_limited_run_is_counted_as_without_it(run: Run, limit: str) -> None:
    before = run.costs(limit).models[0]
    run.make(Extraction(batch_tokens=300, device="cpu"), limit)
    after = run.costs(limit).models[0]
    assert after.splits == before.splits
    assert [part.tokens for part in after.parts] == [part.tokens for part in before.parts]
    assert after.stored == before.disk["activations"]


def test_trainings_are_counted_by_what_their_steps_read(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    costs = run.costs()
    lora = next(part for part in costs.models[0].parts if part.name == "lora")
    run.make(Extraction(heads="none", device="cpu"))
    read = 0

    def counting(groups: list, *arguments: object, **options: object) -> object:
        nonlocal read
        read += sum(len(build_tree(group.tokens, group.score_from, -1)) for group in groups)
        return lay_out(groups, *arguments, **options)

    for module in ("interventions.training.loop", "engine.scoring"):
        monkeypatch.setattr(f"genies.{module}.lay_out", counting)
    monkeypatch.setattr(Scorer, "may_pack", lambda *_: True)  # the self-test's passes are not counted
    plan = run.plan()
    sources = plan.jobs.sources("lora")
    train = [plan.data.file(source, "train") for source in sources]
    tests = [plan.data.file(target, "test") for target in plan.selection.tested]
    pairs = [f"{source}:{target}" for source in sources for target in plan.selection.targets[source]]
    tune_sources(
        "lora", *pairs, parameters=plan.methods.parameters("lora"), model=plan.files.model("tiny"),
        tokens=plan.files.tokens("tiny"), train=train, test=tests, device="cpu", output=Path("tuned.json"),
    )  # fmt: skip
    # 6 steps of 4 pairs are the 12 training examples of a source, twice each.
    assert lora.tokens == pytest.approx(read, rel=1e-12)
    weights = list(Path("cache/interventions").rglob("adapter_model.safetensors"))
    assert len(weights) == len(sources) == 2
    trained = 4 * trained_weights(read_config(Path("tiny")), make("lora", LORA).adapter())
    for file in weights:
        header = 8 + int.from_bytes(file.read_bytes()[:8], "little")
        assert file.stat().st_size - header == trained
    probes = 8 * 16 * 32 * 2 * 2  # mms and cra on two sources: 16 vectors, at most 32 wide
    assert costs.models[0].disk["fits"] == 2 * trained + probes


def test_passes_with_a_direction_changed_are_counted_as_they_are_made(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = ("causal={texts: 200, strengths: [1, 2], draws: 19}", "interventions=[lat_stim_1]")
    costs = run.costs(*entries)
    part = next(part for part in costs.models[0].parts if part.name == "causal")
    assert (part.jobs, part.loads) == (1, 1) and part.operations > 0
    run.make(Extraction(device="cpu"), *entries)
    passed = 0

    def counting(decoder: Decoder, batch: PackedBatch) -> Features:
        nonlocal passed
        row, column = np.divmod(batch.last, batch.tokens.shape[1])
        filled = np.zeros(len(batch.tokens), np.int64)
        np.maximum.at(filled, row, column + 1)
        passed += int(filled.sum())
        return read(decoder, batch)

    read = Decoder.read
    monkeypatch.setattr(Decoder, "read", counting)
    monkeypatch.setattr(Scorer, "may_pack", lambda *_: True)  # the self-test's passes are not counted
    plan = run.plan(*entries)
    write_causal(
        *plan.selection.learning_pairs, model=plan.files.model("tiny"), train=plan.data.train(plan.selection.sources),
        test=plan.data.test(plan.selection.tested), activations=[plan.files.results / "activations.json"], texts=200,
        strengths=[1, 2], draws=19, extraction=Extraction(device="cpu"), output=Path("causal"),
    )  # fmt: skip
    # Of examples with three responses, which are a third, it passes two.
    assert passed <= part.tokens < 1.2 * passed
    assert run.costs(*entries).jobs == run.costs(*entries[1:]).jobs + 1


def test_operations_are_those_of_torchs_own_counter() -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import AutoModelForCausalLM

    config = published_config("llama-7b")
    config.num_hidden_layers, config._attn_implementation = 2, "eager"
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
        tokens = torch.zeros((1, 96), dtype=torch.long)
        places = torch.arange(96)[None]
        mask = torch.zeros((1, 1, 96, 96))
    with FlopCounterMode(display=False) as counter:
        model(tokens, position_ids=places, attention_mask=mask, use_cache=False)
    sketch = Sketch.of(config)
    ours = operations(sketch, Trees.of([96])) + 2 * sketch.head_weights * 96
    assert counter.get_total_flops() == ours


@pytest.mark.parametrize("family", ["gpt_neox", *FAMILY_SIZES])
def test_a_sketch_has_the_shape_that_the_loaded_model_has(family: str, tmp_path: Path) -> None:
    folder = save_model(tmp_path / "tiny", family)
    attention = describe_model(str(folder), None, tmp_path / "hashes.json")["attention"]
    decoder = Decoder.load(folder, "float32", "cpu", attention, layers=(0, 3))
    sketch = Sketch.of(read_config(folder), layers=(0, 3))
    assert sketch.shape == decoder.shape
    assert sketch.parameters == sum(parameter.numel() for parameter in decoder.model.parameters())
    assert sketch.head_weights == decoder.output_head.weight.numel()


def test_a_token_is_counted_with_the_experts_that_it_visits(tmp_path: Path) -> None:
    sketch = Sketch.of(read_config(save_model(tmp_path / "tiny", "mixtral")))
    attention = 32 * 32 * 2 + 32 * 16 * 2  # queries and output, keys and values of two heads of 8
    experts, router = 2 * 3 * 32 * 64, 4 * 32  # two of four, three matrices each
    assert sketch.block_weights == 3 * (attention + experts + router)


@pytest.mark.parametrize(
    ("name", "weights"),
    [("pythia-410m", 405_334_016), ("llama-7b", 6_738_415_616), ("llama-13b", 13_015_864_320),
     ("llama-30b", 32_528_943_616), ("llama-70b", 68_976_648_192)],
)  # fmt: skip
def test_published_shapes_have_the_published_numbers_of_weights(name: str, weights: int) -> None:
    assert Sketch.of(published_config(name)).parameters == weights


def test_the_help_names_every_shape_and_the_assumed_utilisation(capsys: pytest.CaptureFixture) -> None:
    assert main(["estimate", "--help"]) == 0
    told = " ".join(capsys.readouterr().out.replace("│", "").split())
    assert ", ".join(PUBLISHED_SHAPES) in told and f"[default: {UTILISATION}]" in told


def test_without_a_tokenizer_tokens_are_pieces_of_so_many_characters(run: Run, tmp_path: Path) -> None:
    costs = run.costs(shapes=("llama-7b", "llama-13b"))
    first, second = costs.models
    assert first.splits is second.splits  # counted once
    north = next(split for split in first.splits if (split.distribution, split.split) == ("north", "test"))
    texts = [
        example["prompt"] + response
        for example in json.loads(Path("data/north/test.json").read_text())
        for response in example["responses"]
    ]
    assert north.tokens["plain"] == sum(-(-len(text) // CHARACTERS_PER_TOKEN) for text in texts)
    assert north.plain.tokens < 0.7 * north.tokens["plain"]  # responses share their prompts
    assert "Without a tokenizer the counts of tokens are rough" in render(costs)

    save_tokenizer(tmp_path / "words")
    given = run.costs(shapes=("llama-7b",), tokenizer=tmp_path / "words")
    assert [split.tokens for split in given.models[0].splits] == [
        split.tokens for split in run.costs().models[0].splits
    ]
    assert "Without a tokenizer" not in render(given)


def test_a_device_that_is_named_takes_the_place_of_the_assumed_one(run: Run) -> None:
    def hours(rate: Rate) -> list[float]:
        configuration = read_configuration([Path("config.yaml")], [])
        return [part.hours for part in estimate(configuration, (), None, rate).models[0].parts]

    once, twice = hours(Rate(100e12, 0.5)), hours(Rate(50e12, 0.5))
    assert twice == pytest.approx([2 * value for value in once])
    # By default weights in float32, as extraction has them, are slower than those of trainings in bfloat16.
    default = hours(Rate())
    assert default[0] / once[0] == pytest.approx(50 / (0.4 * 19.5))
    assert default[1] / once[1] == pytest.approx(50 / (0.4 * 312))


def test_a_disk_that_is_too_small_is_told(
    run: Run, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["estimate", "--configfile", "config.yaml", "--config", "seed=1"]
    assert main(arguments) == 0
    assert "It fits." in capsys.readouterr().out
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    assert main([*arguments, "--shape", "llama-70b", "--peak-tflops", "989", "--utilisation", "0.3"]) == 3
    captured = capsys.readouterr()
    told = captured.out
    assert "| disk in all |" in told
    assert "genies: error: cache: the run takes" in captured.err
    assert "It does not fit: make room, name another disk under folders.cache, or store less" in told
    assert "a device of 989 TFLOP/s, of which 30 % are assumed to be reached" in told
    assert not Path("cache").exists() and not Path("results").exists()  # nothing is written


def test_whether_the_disk_or_computing_limits_an_extraction_is_said(run: Run) -> None:
    costs = run.costs()
    (model,) = costs.models
    slow, fast = (render(replace(costs, write_rate=rate)) for rate in (1e-3, 1e18))
    hours = model.disk["activations"] / 1e-3 / 3600
    assert f"| extraction: hours of the disk | {hours:,.0f} |" in slow
    assert "Extraction is limited by the disk here and by the disk on NVIDIA A100 (tiny)." in slow
    assert "Extraction is limited by computing here and by computing on NVIDIA A100 (tiny)." in fast
    unknown = render(replace(costs, write_rate=None))
    assert "hours of the disk" not in unknown and "was not measured: nothing can be written there" in unknown


def test_the_rate_of_a_disk_is_measured_and_nothing_stays(tmp_path: Path) -> None:
    assert (write_rate(tmp_path / "cache" / "not there yet") or 0) > 0
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    assert write_rate(tmp_path / "file") is None


@pytest.mark.parametrize(
    ("entries", "shapes", "error", "message"),
    [
        (["model=owner/absent"], (), ModelError, "owner/absent: not in the hub's cache; download it first"),
        ([], ("llama-8b",), ModelError, "shape llama-8b: unknown; choose from pythia-410m, llama-7b"),
        (["seed"], (), ConfigError, "--config cannot be read"),
        (["sed=1"], (), ConfigError, "unknown key sed; did you mean seed"),
    ],
)  # fmt: skip
def test_what_is_not_here_is_named_with_its_remedy(
    run: Run, entries: list[str], shapes: tuple[str, ...], error: type, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shift = {"source": "m", "target": "south", "label": "extreme", "category": "place"}
    Path("mixed.yaml").write_text(yaml.safe_dump([shift]))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(run.folder / "hub"))
    with pytest.raises(error, match=message):
        run.costs(*entries, shapes=shapes)


def test_a_hub_model_of_which_only_the_configuration_is_cached_can_be_planned(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run.folder / "hub/models--owner--known"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs/main").write_text(COMMIT)
    published_config("pythia-410m").save_pretrained(folder / "snapshots" / COMMIT)
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(run.folder / "hub"))
    (model,) = run.costs("model=owner/known").models
    assert model.parameters == 405_334_016
    assert model.tokenizer == f"none: {CHARACTERS_PER_TOKEN} characters per token"


def test_what_disk_the_extraction_takes_is_told_before_it_and_refused_where_too_small(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("genies"), "propagate", True)
    monkeypatch.setattr(logging.getLogger("genies"), "handlers", [])  # those of verbs that other tests ran
    caplog.set_level(logging.INFO, logger="genies")
    options = Extraction(batch_tokens=300, device="cpu")
    run.make(options)
    needed = run.costs().models[0].disk["activations"] / 2**30
    texts = sum(split.texts * len(split.extracted) for split in run.costs().models[0].splits)
    assert f"tiny: {texts} texts to extract take {needed:.2f} GiB under cache/activations (" in caplog.text

    caplog.clear()
    run.make(options)
    assert "to extract" not in caplog.text  # all of it is there

    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(DiskError, match="where 0.0 GiB are free: make room"):
        run.make(Extraction(dtype="bfloat16", device="cpu"))


@pytest.mark.parametrize("native", [True, False])
def test_stores_of_another_arithmetic_are_not_asked_room_for(
    run: Run, native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One node extracts and another one tokenizes; only one of them multiplies in bfloat16.
    options = Extraction(dtype="bfloat16", batch_tokens=300, device="cpu")
    monkeypatch.setattr("genies.engine.arithmetic.native_bfloat16", lambda _: native)
    run.make(options)
    plan = run.plan()
    described, tokenized = (read_json(plan.files.results / name / "tiny.json") for name in ("models", "tokens"))
    monkeypatch.setattr("genies.engine.arithmetic.native_bfloat16", lambda _: not native)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    check_disk(described, tokenized, plan.methods.reads, options, plan.files.cache)
    for other in (replace(options, dtype="float32"), replace(options, heads="none")):
        with pytest.raises(DiskError, match="where 0.0 GiB are free: make room"):
            check_disk(described, tokenized, plan.methods.reads, other, plan.files.cache)
