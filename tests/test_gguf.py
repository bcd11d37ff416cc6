"""A model in a GGUF file is converted once, into what transformers itself reads from it, and is then like any other."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
import torch
import yaml
from gguf_files import CONTEXT, TEMPLATE, write_gguf
from helpers import one_thread_of_torch, save_model, write_distribution
from project import REPOSITORY, warm_code
from transformers import AutoModelForCausalLM

import genies
from genies.cli import main
from genies.config.load import load_config
from genies.costs.estimate import estimate
from genies.costs.rates import Rate
from genies.costs.sketch import Sketch, read_config
from genies.costs.table import render
from genies.digests import file_sha256
from genies.engine.decoder import Decoder
from genies.errors import ConfigError, ModelError, StoreError
from genies.files import write_json
from genies.models import conversions, gguf
from genies.models.describe import describe_model, find_here
from genies.models.files import hashes_file, model_files, tokenizer_digest
from genies.models.find import is_local, model_name, revision_of
from genies.models.load import load_tokenizer
from genies.plan import Plan
from genies.store import cache

TEXT = "Paris is the capital of France"

one_thread = pytest.fixture(autouse=True)(one_thread_of_torch)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("gguf") / "tiny.Q4_1.gguf"
    write_gguf(file)
    return file


@pytest.fixture(scope="module")
def converted_cache(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache in which the file is converted."""
    folder = tmp_path_factory.mktemp("converted") / "cache"
    describe_model(str(file), None, hashes_file(folder))
    return folder


@pytest.fixture
def described(file: Path, converted_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    """Manifest of the file, in a copy of the cache at ``cache`` in the working directory."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(converted_cache, "cache")
    shutil.copy(file, file.name)
    return describe_model(file.name, None, hashes_file(Path("cache")))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("name", ["tiny", None])
def test_the_converted_model_computes_what_the_written_one_does_bit_for_bit(
    tied: bool, name: str | None, tmp_path: Path
) -> None:
    file = tmp_path / "a model" / "tiny.F32.gguf"
    file.parent.mkdir()
    model = write_gguf(file, name=name, tied=tied)
    described = describe_model(str(file), None, hashes_file(tmp_path / "cache"))
    folder = Path(described["path"])
    assert folder.parent == tmp_path / "cache" / "models" and described["converted"] == folder.name
    ids = load_tokenizer(folder)(TEXT, return_tensors="pt").input_ids
    converted = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.inference_mode():
        assert torch.equal(converted(ids).logits, model(ids).logits)
    assert Decoder.load(folder, "float32", "cpu", described["attention"]).model.dtype == torch.float32
    for written in folder.glob("*.json"):
        assert str(tmp_path) not in written.read_text() and "genies-" not in written.read_text()


def test_the_manifest_says_what_the_file_says(described: dict) -> None:
    assert described["name"] == "tiny.Q4_1" and described["identifier"] == "tiny.Q4_1.gguf"
    assert (described["context"], described["eos_token"], described["revision"]) == (CONTEXT, 2, None)
    tokenizer = load_tokenizer(Path(described["path"]))
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<|begin|>", "<|end|>")
    assert tokenizer.chat_template == TEMPLATE
    assert tokenizer.decode(tokenizer(f"{TEXT}<|end|>").input_ids) == f"{TEXT}<|end|>"
    assert "chat_template.jinja" in described["files"]


def test_what_lies_next_to_the_file_has_no_part_in_it(file: Path, converted_cache: Path, tmp_path: Path) -> None:
    folder = save_model(tmp_path / "other", "gpt_neox")
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "gpt2"}')
    (folder / "chat_template.jinja").write_text("another")
    shutil.copy(file, folder / "renamed.gguf")
    described = describe_model(str(folder / "renamed.gguf"), None, hashes_file(tmp_path / "cache"))
    elsewhere = converted_cache / "models" / described["converted"]
    assert {f.name: f.read_bytes() for f in elsewhere.iterdir() if f.name != conversions.RECORD_FILE} == {
        f.name: f.read_bytes() for f in Path(described["path"]).iterdir() if f.name != conversions.RECORD_FILE
    }


def test_a_second_time_nothing_is_converted_nor_imported(described: dict) -> None:
    program = (
        "import sys; from pathlib import Path; from genies.models.gguf import converted_folder\n"
        "print(converted_folder(Path(sys.argv[1]), sys.argv[2], Path('cache/models')))\n"
        "assert not {'gguf', 'torch', 'transformers'} & set(sys.modules), 'imported'\n"
        "from genies.models.describe import describe_model\n"
        "from genies.models.files import hashes_file\n"
        "describe_model(sys.argv[1], None, hashes_file(Path('cache')))\n"
        "assert 'gguf' not in sys.modules, 'imported'\n"
    )
    name = described["identifier"]
    result = subprocess.run(
        [sys.executable, "-c", program, name, file_sha256(Path(name))],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == described["path"]


@pytest.mark.parametrize("package", ["transformers", "gguf"])
def test_another_version_of_what_reads_the_file_or_other_bytes_give_another_name(
    package: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = gguf.conversion_digest(file, "a" * 64)
    assert gguf.conversion_digest(file, "b" * 64) != before
    version = gguf.version
    monkeypatch.setattr(gguf, "version", lambda name: "0.0.1" if name == package else version(name))
    assert gguf.conversion_digest(file, "a" * 64) != before


@pytest.mark.parametrize(
    "killed_in",
    [
        "genies.models.conversions.write_sealed",  # before the record
        "genies.files.shutil.move",  # while files go to their place
    ],
)
def test_a_conversion_that_is_killed_leaves_nothing_that_looks_whole(
    killed_in: str, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    program = (
        "import os, signal, sys\nfrom unittest.mock import patch\nfrom genies.cli import main\n"
        f"with patch({killed_in!r}, side_effect=lambda *_: os.kill(os.getpid(), signal.SIGKILL)):\n"
        "    main(['model', sys.argv[1], '--output', 'model.json'])\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(file)], env=warm_code(REPOSITORY))
    assert killed.returncode == -signal.SIGKILL
    assert not Path("model.json").exists()
    left = cache.entries(Path("cache"), Path("results"))
    assert left and all(entry.kind == "models" and entry.partial for entry in left)
    assert find_here(str(file), None, hashes_file(Path("cache"))) == file

    assert main(["model", str(file), "--output", "model.json"]) == 0
    (entry,) = cache.entries(Path("cache"), Path("results"))
    assert not entry.partial
    cache.verify(entry)


def test_a_folder_of_which_a_file_is_gone_is_made_again(described: dict) -> None:
    (Path(described["path"]) / "model.safetensors").unlink()
    assert describe_model(described["identifier"], None, hashes_file(Path("cache"))) == described


def change(position: int, size: int | None = None) -> Callable[[Path], None]:
    """Cut a file, or write other bytes into it."""

    def broken(file: Path) -> None:
        content = file.read_bytes()
        file.write_bytes(content[:position] if size is None else content[:position] + b"\xff" * size)

    return broken


def folder_in_its_place(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize(
    ("breaking", "message"),
    [
        (folder_in_its_place, "a folder, not a GGUF file"),
        (Path.unlink, r"model file not found; .*owner/name/file\.gguf"),
        (change(0), r"no GGUF file \(it is empty\); download it again"),
        (lambda file: file.write_text("<html>"), r"no GGUF file \(it begins with other bytes\); download it again"),
    ],
)
def test_what_is_no_gguf_file_is_refused_when_planning(
    breaking: Callable[[Path], None], message: str, file: Path, tmp_path: Path
) -> None:
    bad = Path(shutil.copy(file, tmp_path / "bad.gguf"))
    breaking(bad)
    with pytest.raises(ModelError, match=f"{bad}: {message}"):
        model_files(bad)


@pytest.mark.parametrize(
    ("breaking", "message"),
    [
        (change(2000), "no whole GGUF file; download it again"),
        (change(-3000), "no whole GGUF file; download it again"),
        (change(4, 100), "no whole GGUF file; download it again"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(
    breaking: Callable[[Path], None], message: str, file: Path, tmp_path: Path
) -> None:
    bad = Path(shutil.copy(file, tmp_path / "bad.gguf"))
    breaking(bad)
    refuse(bad, message, tmp_path)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"architecture": "unheard_of"}, r"transformers .* cannot load it; give a GGUF file .*unheard_of"),
        ({"architecture": "t5"}, r"transformers .* cannot load it; give a GGUF file of a causal language model"),
        ({"fields": {"tokenizer.ggml.model": "bert"}}, "transformers .* cannot load it"),
        ({"without": "blk.1."}, r"its weights lack model.layers.1.*\(9 in all\); give a whole causal language model"),
        ({"extra": "blk.0.attn_q.bias"}, "transformers would load .* of its .* weights as LlamaForCausalLM"),
        ({"extra": "rope_freqs.weight"}, "scales its rotary positions, which transformers does not read"),
        ({"fields": {"llama.rope.scaling.type": "yarn"}}, "scales its rotary positions"),
        ({"fields": {"split.count": 3}}, "one of 3 parts of a model; merge them first"),
    ],
)
def test_what_transformers_cannot_load_as_it_is_is_refused_in_one_line(
    written: dict, message: str, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.gguf"
    write_gguf(bad, **written)
    refuse(bad, message, tmp_path)


def refuse(bad: Path, message: str, folder: Path) -> None:
    with pytest.raises(ModelError, match=f"^{bad}: {message}") as refusal:
        describe_model(str(bad), None, hashes_file(folder / "cache"))
    assert "\n" not in str(refusal.value)
    assert cache.entries(folder / "cache", folder / "results") == []


def test_positions_that_are_not_scaled_may_be_stated_as_such(tmp_path: Path) -> None:
    write_gguf(tmp_path / "tiny.gguf", fields={"llama.rope.scaling.type": "none"})
    assert describe_model(str(tmp_path / "tiny.gguf"), None, hashes_file(tmp_path / "cache"))["context"] == CONTEXT


def test_a_missing_package_is_named(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "gguf":
            raise PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(gguf, "version", version)
    with pytest.raises(ModelError, match=f"{file}: .*needs a package; pip install gguf"):
        describe_model(str(file), None, hashes_file(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("identifier", "name"),
    [
        ("models/SmolLM2-135M-Instruct.Q4_1.gguf", "SmolLM2-135M-Instruct.Q4_1"),
        ("/models/A model (new).GGUF", "A-model-new-"),
        ("./..hidden.gguf", "hidden"),
        ("owner/name/file.gguf", "file"),
    ],
)
def test_a_model_is_called_after_its_file(identifier: str, name: str) -> None:
    assert model_name(identifier) == name
    load_config({"run": "r", "shifts": ["demo"], "model": identifier})


@pytest.mark.parametrize(
    ("identifier", "local"),
    [
        ("owner/name/file.gguf", False),
        ("owner/name/sub/file.gguf", False),
        ("file.gguf", True),
        ("models/file.gguf", True),
        ("here/models/file.gguf", True),
        ("/a/b/c.gguf", True),
    ],
)
def test_files_of_the_hub_and_local_ones_are_told_apart(
    identifier: str, local: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("here/models").mkdir(parents=True)
    assert is_local(identifier) is local


def test_a_revision_goes_by_the_file_or_by_its_repository() -> None:
    assert revision_of("o/n/f.gguf", {"o/n": "a"}) == "a"
    assert revision_of("o/n/f.gguf", {"o/n": "a", "o/n/f.gguf": "b"}) == "b"
    assert revision_of("o/n/f.gguf", {"o": "a"}) is None
    assert revision_of("o/n", {"o/n": "a"}) == "a"


def test_a_reward_model_is_no_gguf_file() -> None:
    from genies.interventions.reward_model import RewardModel

    with pytest.raises(ConfigError, match=r"parameter model: reward\.gguf is a GGUF file"):
        RewardModel(model="reward.gguf")


def test_the_cache_verifies_a_conversion_and_keeps_what_a_run_uses(
    described: dict, capsys: pytest.CaptureFixture
) -> None:
    manifest = Path("results/mini/models/tiny.json")
    write_json(manifest, described)
    assert main(["cache", "list"]) == 0
    assert "tiny.Q4_1  (mini)" in capsys.readouterr().out
    assert main(["cache", "gc", "--yes", "--age", "0"]) == 0
    assert main(["cache", "verify"]) == 0

    weights = Path(described["path"]) / "model.safetensors"
    damaged = bytearray(weights.read_bytes())
    damaged[-1] ^= 1
    weights.write_bytes(damaged)
    assert main(["cache", "verify"]) == 2
    assert f"{weights}: missing, or not the file" in capsys.readouterr().out
    assert main(["cache", "verify", "--repair"]) == 2
    assert not manifest.exists() and not weights.exists()

    again = describe_model(described["identifier"], None, hashes_file(Path("cache")))
    assert again == described
    write_json(manifest.with_name("folder.json"), {**described, "converted": None})
    assert main(["cache", "gc", "--yes", "--age", "0"]) == 0  # no run names it
    assert not Path(described["path"]).exists()
    write_json(manifest, described)
    assert main(["cache", "verify"]) == 2
    assert "a run names" in capsys.readouterr().out


def test_two_conversions_are_explained_by_their_fields(described: dict, file: Path) -> None:
    write_gguf(Path("other.gguf"), tied=False)
    describe_model("other.gguf", None, hashes_file(Path("cache")))
    ours, theirs = cache.entries(Path("cache"), Path("results"))
    assert [name for name, _, _ in cache.explain(ours, theirs)] == ["sha256"]
    (Path(described["path"]) / conversions.RECORD_FILE).write_text("{}")
    with pytest.raises(StoreError, match="damaged"):
        conversions.check_converted(Path(described["path"]))


def configured(**keys: object) -> Path:
    """A configuration of two small distributions in the working directory."""
    for number, name in enumerate(("north", "south")):
        write_distribution(Path("data") / name, offset=31 * number)
    shifts = [{"source": "north", "target": "south", "label": "extreme", "category": "place"}]
    Path("shifts.yaml").write_text(yaml.safe_dump(shifts))
    configuration = {
        "run": "mini",
        "distributions": ["data/north", "data/south"],
        "shifts": ["shifts.yaml"],
        "interventions": ["zero_shot", "mms"],
        "capability_interventions": ["mms"],
        **keys,
    }
    Path("config.yaml").write_text(yaml.safe_dump(configuration))
    return Path("config.yaml")


def test_a_file_is_planned_with_before_it_is_converted(
    file: Path, converted_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    converted = find_here(str(file), None, hashes_file(converted_cache))
    remembered = hashes_file(tmp_path / "cache")
    assert converted.is_relative_to(converted_cache) and find_here(str(file), None, remembered) == file
    before, after = (Sketch.of(read_config(found)) for found in (file, converted))
    assert before == after
    before, after = (load_tokenizer(found)(TEXT).input_ids for found in (file, converted))
    assert before == after
    assert tokenizer_digest(file) != tokenizer_digest(converted)
    assert main(["estimate", "--configfile", str(configured(models=[str(file)]))]) == 0
    assert not Path("cache").exists() and not Path("results").exists()  # nothing is written


def test_hashes_are_written_only_when_one_is_new(described: dict) -> None:
    remembered = hashes_file(Path("cache"))
    before = remembered.stat()
    assert describe_model(described["identifier"], None, remembered) == described
    assert (remembered.stat().st_ino, remembered.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_the_conversion_counts_as_disk_until_it_is_there(
    file: Path, converted_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    save_model(tmp_path / "tiny", "llama")
    configuration = load_config(yaml.safe_load(configured(models=[str(file), "tiny"]).read_text()))
    costs = estimate(configuration, (), None, Rate())
    converted, folder = costs.models
    weights = find_here(str(file), None, hashes_file(converted_cache)) / "model.safetensors"
    written = weights.stat().st_size - 8 - int.from_bytes(weights.read_bytes()[:8], "little")  # without its header
    assert converted.disk["model"] == written and "model" not in folder.disk
    assert costs.needed == sum(sum(model.disk.values()) for model in costs.models)
    assert "| disk: model |" in render(costs)

    monkeypatch.setattr("genies.costs.estimate.free_bytes", lambda _: costs.needed - 1)
    assert main(["estimate", "--configfile", "config.yaml"]) == 3
    assert "It does not fit" in capsys.readouterr().out
    shutil.copytree(converted_cache, "cache")
    after = estimate(configuration, (), None, Rate())
    assert (after.needed, after.models[0].stored) == (costs.needed - written, written)
    assert main(["estimate", "--configfile", "config.yaml", "--config", "models=[tiny]"]) == 0
    assert "disk: model" not in capsys.readouterr().out


def test_the_demos_own_model_may_be_a_file_that_is_not_there_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    demo = "resources/demo/tiny.gguf"
    values = yaml.safe_load(configured(models=[demo]).read_text())
    assert Plan(load_config(values)).models.files("tiny") == []  # as a file of the hub's repository resources/demo
    monkeypatch.setattr("genies.plan.models.MODEL_FILE", "tiny.gguf")
    assert Plan(load_config(values)).models.files("tiny") == [Path(demo)]
    Path(demo).parent.mkdir(parents=True)
    Path(demo).write_bytes(b"")  # not whole yet
    assert Plan(load_config(values)).models.files("tiny") == [Path(demo)]


def test_probes_and_trainings_from_python_give_what_the_folder_gives(
    file: Path, converted_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    configured()
    folder = find_here(str(file), None, hashes_file(converted_cache))
    (shift,) = yaml.safe_load(Path("shifts.yaml").read_text())
    tables = [
        genies.evaluate_shifts(
            str(model),
            ["zero_shot", "mms", "few_shot", "lora"],
            [shift],
            run=run,
            distributions=["data/north", "data/south"],
            capability_interventions=["mms"],
            intervention_parameters={"lora": {"steps": 1, "pairs_per_step": 2, "rank": 2}, "few_shot": {"shots": 1}},
        ).drop("model")
        for run, model in (("file", file), ("folder", folder))
    ]
    assert tables[0].equals(tables[1])
    assert len(tables[0]) == 4
