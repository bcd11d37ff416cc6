"""Models of a hub: pinned, downloaded once, taken up again, and refused in one line that says what helps."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from adapters import save_adapter
from gguf_files import write_gguf
from helpers import save_model
from hub import COMMIT, TOKEN, Hub, Repository
from project import REPOSITORY, cold, run_to_end, warm_code

GENIES = "import sys; from genies.cli import main; sys.exit(main())"
FETCH = "import sys; from genies.models.find import fetch; print(fetch(*sys.argv[1:], *[None] * (3 - len(sys.argv))))"
MOVED = "f" * 40
DOWNLOADED = ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model as it may lie on a hub: with pickles, code, other formats and a second copy of the weights beside it."""
    folder = save_model(tmp_path_factory.mktemp("hub") / "tiny", "llama")
    for name in ("pytorch_model.bin", "modeling_tiny.py", "README.md", "consolidated.safetensors", "onnx/model.onnx",
                 "onnx/config.json", "fp16/model.safetensors", "original/tokenizer.model"):  # fmt: skip
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"not to be downloaded")
    return folder


@pytest.fixture
def hub(repository: Path) -> Iterator[Hub]:
    with Hub({"owner/tiny": Repository(repository), "owner/gated": Repository(repository, gated=True)}) as hub:
        yield hub


class Machine:
    """A machine with a cache of the hub's own, on which ``genies model`` runs."""

    def __init__(self, folder: Path, hub: Hub) -> None:
        self.folder = folder
        self.environment = {"HF_HOME": str(folder / "hf"), **hub.environment}

    def run(self, program: str, *arguments: str, new: bool = False, **environment: str) -> subprocess.CompletedProcess:
        """Run a program, as a fork of what has imported the libraries unless it is to be a ``new`` process."""
        inherited = (cold if new else warm_code)(REPOSITORY)
        inherited = {k: v for k, v in inherited.items() if not k.startswith(("HF_", "HUGGING"))}
        return run_to_end(
            [sys.executable, "-c", program, *arguments],
            cwd=self.folder,
            env={**inherited, **self.environment, **environment},
        )

    def model(self, identifier: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the verb, which writes a manifest."""
        return self.run(GENIES, "model", identifier, *options, "--output", "model.json", **environment)

    def fetch(self, *arguments: str, **environment: str) -> Path:
        """The folder of a model of this name (and revision), downloaded if needed."""
        result = self.run(FETCH, *arguments, **environment)
        assert result.returncode == 0, result.stderr
        return Path(result.stdout.strip())

    def manifest(self) -> dict:
        return json.loads((self.folder / "model.json").read_text())

    def refusal(self, result: subprocess.CompletedProcess[str]) -> str:
        """The one line of a refusal, after checking that it is one and that nothing looks done."""
        assert result.returncode == 2, result.stderr
        assert "Traceback" not in result.stderr
        assert not (self.folder / "model.json").exists()
        (line,) = [line for line in result.stderr.splitlines() if line.startswith("genies: error: ")]
        return line


@pytest.fixture
def machine(tmp_path: Path, hub: Hub) -> Machine:
    return Machine(tmp_path, hub)


def test_weights_tokenizer_and_configuration_are_downloaded_into_the_hubs_own_cache_and_pinned(
    machine: Machine, hub: Hub
) -> None:
    result = machine.model("owner/tiny")
    assert result.returncode == 0, result.stderr
    manifest = machine.manifest()
    assert manifest["revision"] == COMMIT
    snapshot = machine.folder / "hf/hub/models--owner--tiny/snapshots" / COMMIT
    assert Path(manifest["path"]) == snapshot
    assert sorted(file.name for file in snapshot.iterdir()) == DOWNLOADED

    assert hub.files_sent() == DOWNLOADED
    assert "100%" in result.stderr  # progress is shown

    elsewhere = machine.folder / "shared"
    assert machine.fetch("owner/tiny", HF_HUB_CACHE=str(elsewhere)).is_relative_to(elsewhere)


def test_a_second_run_asks_nothing_and_stays_on_its_commit(machine: Machine, hub: Hub, repository: Path) -> None:
    first, asked = machine.fetch("owner/tiny"), len(hub.requests)
    hub.repositories["owner/tiny"] = Repository(repository, commit=MOVED)
    assert machine.fetch("owner/tiny") == first
    assert machine.fetch("owner/tiny", HF_HUB_OFFLINE="1") == first
    assert machine.fetch("owner/tiny", COMMIT) == first
    assert len(hub.requests) == asked
    assert machine.fetch("owner/tiny", MOVED).name == MOVED


def test_a_cache_of_which_a_file_is_gone_is_completed(machine: Machine, hub: Hub) -> None:
    folder = machine.fetch("owner/tiny")
    (folder / "model.safetensors").resolve().unlink()
    (folder / "model.safetensors").unlink()
    hub.requests.clear()
    assert machine.fetch("owner/tiny") == folder
    assert hub.files_sent() == ["model.safetensors"]


def test_a_gguf_file_is_downloaded_alone_pinned_and_converted(machine: Machine, hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    (folder / "sub").mkdir(parents=True)
    for name in ("tiny.Q4_1.gguf", "tiny.Q8_0.gguf", "sub/tiny.gguf"):
        write_gguf(folder / name)
    hub.repositories["owner/files"] = Repository(folder)
    result = machine.model("owner/files/tiny.Q4_1.gguf")
    assert result.returncode == 0, result.stderr
    assert hub.files_sent() == ["tiny.Q4_1.gguf"]
    manifest = machine.manifest()
    assert (manifest["name"], manifest["revision"]) == ("tiny.Q4_1", COMMIT)
    assert manifest["path"] == f"cache/models/{manifest['converted']}"

    asked = len(hub.requests)
    hub.repositories["owner/files"] = Repository(folder, commit=MOVED)
    again = machine.model("owner/files/tiny.Q4_1.gguf")
    assert machine.manifest() == manifest and "converting" not in again.stderr
    assert len(hub.requests) == asked
    assert machine.model("owner/files/sub/tiny.gguf", "--revision", MOVED).returncode == 0
    assert machine.manifest()["revision"] == MOVED

    (machine.folder / "model.json").unlink()
    line = machine.refusal(machine.model("owner/files/tiny.F16.gguf"))
    assert "owner/files/tiny.F16.gguf: the hub's repository has no such file; check the name" in line
    line = machine.refusal(machine.model("owner/nothing/tiny.gguf"))
    assert "owner/nothing/tiny.gguf: no such model on the hub, or a private one" in line
    line = machine.refusal(machine.model("owner/files/tiny.Q8_0.gguf", HF_HUB_OFFLINE="1"))
    assert "owner/files/tiny.Q8_0.gguf: not whole in the hub's cache" in line


def test_a_connection_that_breaks_is_taken_up_in_the_same_file(
    machine: Machine, hub: Hub, repository: Path, tmp_path: Path
) -> None:
    large = shutil.copytree(repository, tmp_path / "large")
    weights = bytes(range(256)) * (48 * 1024)
    (large / "model.safetensors").write_bytes(weights)
    hub.repositories["owner/tiny"] = Repository(large)
    hub.breaks["model.safetensors"] = 11 * 2**20
    assert (machine.fetch("owner/tiny") / "model.safetensors").read_bytes() == weights
    ranges = [asked for method, path, asked in hub.requests if method == "GET" and path.endswith("/model.safetensors")]
    assert ranges == [None, f"bytes={10 * 2**20}-"]  # huggingface_hub keeps pieces of 10 MiB


def test_a_download_that_failed_keeps_its_finished_files(machine: Machine, hub: Hub) -> None:
    hub.fails.add("model.safetensors")
    line = machine.refusal(machine.model("owner/tiny"))
    assert "owner/tiny: the download failed" in line and "run again, finished files are kept" in line
    hub.fails.clear()
    finished = {file.name for file in machine.folder.glob("hf/hub/models--owner--tiny/snapshots/*/*")}
    hub.requests.clear()
    machine.fetch("owner/tiny")
    assert hub.files_sent() == sorted(set(DOWNLOADED) - finished)
    assert not list(machine.folder.rglob("*.incomplete"))


def test_a_gated_model_needs_a_token_and_says_how_to_give_one(machine: Machine) -> None:
    line = machine.refusal(machine.model("owner/gated"))
    assert "owner/gated: gated on the hub" in line and "hf auth login" in line and "HF_TOKEN" in line
    assert "hf auth login" in machine.refusal(machine.model("owner/gated", HF_TOKEN="hf_another"))
    assert machine.fetch("owner/gated", HF_TOKEN=TOKEN).name == COMMIT


def test_the_token_of_a_login_is_used(machine: Machine) -> None:
    (machine.folder / "hf").mkdir()
    (machine.folder / "hf/token").write_text(TOKEN)  # what `hf auth login` writes
    assert machine.fetch("owner/gated").name == COMMIT


def test_what_the_hub_does_not_have_is_named(machine: Machine) -> None:
    line = machine.refusal(machine.model("owner/nothing"))
    assert "owner/nothing: no such model on the hub, or a private one" in line and "HF_TOKEN" in line
    line = machine.refusal(machine.model("owner/tiny", "--revision", "v9"))
    assert "owner/tiny: the hub has no revision v9" in line


def test_without_a_network_a_model_that_was_never_downloaded_is_refused(machine: Machine) -> None:
    for environment in ({"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}):
        line = machine.refusal(machine.model("owner/tiny", **environment))
        assert "owner/tiny: not whole in the hub's cache" in line and "run once where there is a network" in line


def test_a_full_disk_of_the_hubs_cache_has_the_status_of_full_disks(machine: Machine) -> None:
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY)); "
    result = machine.run(limited + GENIES, "model", "owner/tiny", "--output", "model.json", new=True)
    assert result.returncode == 3
    assert "make room" in result.stderr and "Traceback" not in result.stderr


def test_an_adapter_is_downloaded_with_its_base_and_both_are_pinned(
    machine: Machine, hub: Hub, repository: Path, tmp_path: Path
) -> None:
    adapter = save_adapter(tmp_path / "adapter", repository, "lora")
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": "owner/tiny"}))
    (adapter / "adapter_model.bin").write_bytes(b"not to be downloaded")
    hub.repositories["owner/adapter"] = Repository(adapter, commit=MOVED)
    result = machine.model("owner/adapter")
    assert result.returncode == 0, result.stderr
    manifest = machine.manifest()
    told = manifest["adapter"]
    assert (manifest["revision"], told["base"], told["base_revision"]) == (MOVED, "owner/tiny", COMMIT)
    assert sorted(hub.files_sent()) == sorted([*DOWNLOADED, "adapter_config.json", "adapter_model.safetensors"])
    asked = len(hub.requests)
    again = machine.model("owner/adapter", HF_HUB_OFFLINE="1")
    assert again.returncode == 0 and machine.manifest() == manifest and len(hub.requests) == asked
    (machine.folder / "model.json").unlink()
    assert "its base: owner/tiny: the hub has no revision v9 of it; name another under revisions" in machine.refusal(
        machine.model("owner/adapter", "--base", "owner/tiny", "--base-revision", "v9")
    )
    assert "its base: owner/nothing: no such model on the hub" in machine.refusal(
        machine.model("owner/adapter", "--base", "owner/nothing")
    )
