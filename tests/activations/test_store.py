"""A store is complete or invisible, goes on after a kill, and says what is damaged."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
import zarr

from genies.engine.bits import from_bits, to_bits
from genies.errors import StoreError
from genies.store import shards
from genies.store import writer as writer_module
from genies.store.activations import ActivationStore, is_complete, reopen
from genies.store.blocks import block_texts, read_journal
from genies.store.shards import write_shard
from genies.store.writer import BlockThreads, StoreWriter

TEXTS, BLOCK = 10, 4
SHAPES = {"heads": (2, 3, 4), "residual": (3, 8), "log_probability": (), "scored_tokens": ()}


def description(**changes: object) -> dict:
    return {
        "dtype": "float32",
        "block_texts": BLOCK,
        "example": list(range(TEXTS)),
        "response": [0] * TEXTS,
        "blocks": 2,
        "layers": {"heads": [0, 1], "residual": [0, 1, 2]},
        "heads": [0, 1, 2],
        **changes,
    }


def values(first: int, count: int, zero: bool = False) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    whole = {
        "heads": rng.normal(size=(TEXTS, 2, 3, 4)).astype(np.float32),
        "residual": rng.normal(size=(TEXTS, 3, 8)).astype(np.float32),
        "log_probability": -rng.random(TEXTS),
        "scored_tokens": rng.integers(1, 9, TEXTS),
    }
    return {name: array[first : first + count] * (0 if zero else 1) for name, array in whole.items()}


def write(root: Path, *steps: tuple[int, int], **changes: object) -> StoreWriter:
    writer = StoreWriter(root, "store", description(**changes), SHAPES)
    for first, count in steps:
        writer.append(first, values(first, count))
    return writer


def test_a_finished_store_gives_back_what_was_written(tmp_path: Path) -> None:
    write(tmp_path, (0, 3), (3, 5), (8, 2)).finish()
    store, want = ActivationStore(tmp_path / "store"), values(0, TEXTS)
    assert is_complete(tmp_path, "store")
    for layer in range(2):
        np.testing.assert_array_equal(store.heads(layer), want["heads"][:, layer])
        np.testing.assert_array_equal(store.heads(layer, [2, 0]), want["heads"][:, layer, [2, 0]])
    np.testing.assert_array_equal(store.residual(2), want["residual"][:, 2])
    np.testing.assert_array_equal(store.log_probability(), want["log_probability"])
    np.testing.assert_array_equal(store.scored_tokens(), want["scored_tokens"])
    assert store.rows([7, 2], [0, 0]).tolist() == [7, 2]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_zarr_reads_what_was_written(tmp_path: Path, dtype: str) -> None:
    write(tmp_path, (0, 3), (3, 5), (8, 2), dtype=dtype).finish()
    group, want = zarr.open_group(tmp_path / "store/data.zarr", mode="r"), values(0, TEXTS)
    assert sorted(group.array_keys()) == sorted([*SHAPES, "example", "response"])
    for name, array in want.items():
        read = np.asarray(group[name][:])
        features = name in ("heads", "residual")
        np.testing.assert_array_equal(read, to_bits(array, dtype) if features else array)
    np.testing.assert_array_equal(group["example"][:], range(TEXTS))


def test_a_shard_that_zarr_wrote_is_read(tmp_path: Path) -> None:
    """Zarr lays the chunks of a shard in another order, and the index says which."""
    write(tmp_path, (0, TEXTS)).finish()
    want = values(0, TEXTS)
    shard = tmp_path / "store/data.zarr/heads/c/1/0/0/0"
    ours = shard.read_bytes()
    zarr.open_group(tmp_path / "store/data.zarr", mode="r+")["heads"][BLOCK : 2 * BLOCK] = want["heads"][
        BLOCK : 2 * BLOCK
    ]
    assert len(shard.read_bytes()) == len(ours) and shard.read_bytes() != ours
    store = ActivationStore(tmp_path / "store")
    store.data.check_block(1)
    for layer in range(2):
        np.testing.assert_array_equal(store.heads(layer, [2, 0, 1]), want["heads"][:, layer, [2, 0, 1]])


def test_threads_write_the_same_store(tmp_path: Path) -> None:
    write(tmp_path / "one", (0, 3), (3, 5), (8, 2)).finish()
    with BlockThreads(2) as threads:
        writer = StoreWriter(tmp_path / "many", "store", description(), SHAPES, threads=threads)
        for first, count in ((0, 3), (3, 5), (8, 2)):
            writer.append(first, values(first, count))
        writer.finish()
    one, many = (
        {file.relative_to(root): file.read_bytes() for file in root.rglob("*") if file.is_file()}
        for root in (tmp_path / "one", tmp_path / "many")
    )
    assert one == many


def test_an_error_of_a_thread_comes_out_and_leaves_the_store_invisible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = []

    def full(path: Path, shard: np.ndarray) -> None:
        if "/residual/c/1" in path.as_posix() and not failed:
            failed.append(path)
            raise OSError(errno.ENOSPC, "No space left on device")
        write_shard(path, shard)

    monkeypatch.setattr(writer_module, "write_shard", full)
    with BlockThreads(2) as threads:
        writer = StoreWriter(tmp_path, "store", description(), SHAPES, threads=threads)
        with pytest.raises(OSError, match="No space left"):
            for first in range(0, TEXTS, 2):
                writer.append(first, values(first, 2))
            writer.finish()
    assert not is_complete(tmp_path, "store")
    again = StoreWriter(tmp_path, "store", description(), SHAPES)
    assert again.missing()[BLOCK : 2 * BLOCK].all()
    again.append(0, values(0, TEXTS))
    again.finish()
    np.testing.assert_array_equal(ActivationStore(tmp_path / "store").residual(1), values(0, TEXTS)["residual"][:, 1])


def test_a_disk_that_gives_other_bytes_back_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(path: Path) -> None:
        """Flush a file, of which the disk loses a bit."""
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 4
        path.write_bytes(data)

    monkeypatch.setattr(shards, "sync_file", forgetful)
    with pytest.raises(OSError, match=r"heads/c/0/0/0/0: does not read back as it was written"):
        write(tmp_path, (0, 4))


def test_values_of_some_texts_come_in_the_order_asked_for(tmp_path: Path) -> None:
    write(tmp_path, (0, TEXTS)).finish()
    rows, want = np.array([9, 1, 4, 0, 8, 5]), values(0, TEXTS)
    found = ActivationStore(tmp_path / "store").data.values(rows)
    assert found.keys() == SHAPES.keys()
    for name, array in found.items():
        np.testing.assert_array_equal(array, want[name][rows])


def test_an_unfinished_store_is_invisible_and_cannot_be_finished(tmp_path: Path) -> None:
    writer = write(tmp_path, (0, 9))
    assert not is_complete(tmp_path, "store")
    assert not (tmp_path / "store").exists()
    with pytest.raises(StoreError, match="block 2 of 3 was never written"):
        writer.finish()


def test_a_second_writer_goes_on_after_the_last_whole_block(tmp_path: Path) -> None:
    write(tmp_path, (0, 6))
    writer = StoreWriter(tmp_path, "store", description(), SHAPES)
    assert writer.missing().tolist() == [False] * 4 + [True] * 6
    writer.append(2, values(2, 6))
    writer.append(8, values(8, 2))
    writer.finish()
    np.testing.assert_array_equal(ActivationStore(tmp_path / "store").heads(1), values(0, TEXTS)["heads"][:, 1])


def test_a_torn_journal_line_loses_its_block_alone(tmp_path: Path) -> None:
    writer = write(tmp_path, (0, 8))
    journal = writer.folder / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-5])
    assert list(read_journal(journal, writer.plan)) == [0]
    again = StoreWriter(tmp_path, "store", description(), SHAPES)
    assert again.missing().tolist() == [False] * 4 + [True] * 6
    again.append(4, values(4, 6))
    again.finish()


def test_a_partial_store_with_another_plan_is_thrown_away(tmp_path: Path) -> None:
    write(tmp_path, (0, 8))
    again = StoreWriter(tmp_path, "store", description(batch_tokens=7), SHAPES)
    assert again.missing().all()


def test_texts_out_of_order_are_refused(tmp_path: Path) -> None:
    writer = write(tmp_path, (0, 2))
    with pytest.raises(StoreError, match="out of order"):
        writer.append(3, values(3, 1))


def test_an_all_zero_block_is_complete_and_a_missing_one_raises(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path, "store", description(), SHAPES)
    writer.append(0, values(0, TEXTS, zero=True))
    writer.finish()
    assert not ActivationStore(tmp_path / "store").heads(0).any()
    (tmp_path / "store/data.zarr/heads/c/1/0/0/0").unlink()
    with pytest.raises(StoreError, match="heads/c/1/0/0/0 is missing"):
        ActivationStore(tmp_path / "store").heads(0)
    with pytest.raises(StoreError, match="is missing"):
        ActivationStore(tmp_path / "store").data.check_block(1)


def test_a_reopened_store_keeps_what_reads_back(tmp_path: Path) -> None:
    write(tmp_path, (0, TEXTS)).finish()
    (tmp_path / "store/data.zarr/heads/c/1/0/0/0").unlink()
    (tmp_path / "store/data.zarr/residual/zarr.json").write_text("{}")
    reopen(tmp_path, "store")
    assert not is_complete(tmp_path, "store")
    writer = StoreWriter(tmp_path, "store", description(), SHAPES)
    assert not writer.missing().any()
    assert list(writer.drop_damaged()) == [1]
    assert writer.missing().tolist() == [False] * 4 + [True] * 4 + [False] * 2
    writer.append(4, values(4, 4))
    writer.finish()
    np.testing.assert_array_equal(ActivationStore(tmp_path / "store").heads(1), values(0, TEXTS)["heads"][:, 1])


def test_a_repair_leaves_a_store_alone_that_has_the_same_file_by_a_link(tmp_path: Path) -> None:
    write(tmp_path, (0, TEXTS)).finish()
    shard, other = tmp_path / "store/data.zarr/residual/c/1/0/0", tmp_path / "linked"
    other.hardlink_to(shard)
    data = shard.read_bytes()
    shard.write_bytes(data[:-1])
    reopen(tmp_path, "store")
    writer = StoreWriter(tmp_path, "store", description(), SHAPES)
    writer.drop_damaged()
    writer.append(4, values(4, 4))
    writer.finish()
    assert (shard.read_bytes(), other.read_bytes()) == (data, data[:-1])


@pytest.mark.parametrize("name", ["heads", "residual"])
def test_a_flipped_bit_is_found_when_read(tmp_path: Path, name: str) -> None:
    write(tmp_path, (0, TEXTS)).finish()
    shard = next(file for file in sorted((tmp_path / "store/data.zarr" / name / "c/1").rglob("*")) if file.is_file())
    data = bytearray(shard.read_bytes())
    data[10] ^= 1
    shard.write_bytes(data)
    store = ActivationStore(tmp_path / "store")
    with pytest.raises(StoreError, match="store"):
        getattr(store, name)(0)


def test_a_response_that_is_not_stored_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, (0, TEXTS)).finish()
    with pytest.raises(StoreError, match="no features"):
        ActivationStore(tmp_path / "store").rows([3], [1])


def test_bfloat16_values_survive_as_bits() -> None:
    values = np.array([1.0, -2.5, 0.15625, 3e38, -0.0], np.float32)
    bits = to_bits(values, "bfloat16")
    assert bits.dtype == np.uint16
    np.testing.assert_array_equal(from_bits(bits, "bfloat16")[:3], values[:3])


def test_other_values_are_rounded_to_the_nearest_bfloat16() -> None:
    step = 2.0**-7  # of bfloat16 between 1 and 2
    values = np.array([[1 + 0.49 * step, 1 + 0.51 * step], [1 + 0.5 * step, -1 - 1.5 * step], [np.inf, np.nan]])
    back = from_bits(to_bits(values.astype(np.float32), "bfloat16"), "bfloat16")
    np.testing.assert_array_equal(back, np.array([[1, 1 + step], [1, -1 - 2 * step], [np.inf, np.nan]], np.float32))


@pytest.mark.parametrize(("values_per_text", "texts"), [(10, 600), (270_000, 1200), (10**9, 40)])
def test_blocks_are_nearly_alike_and_never_empty(values_per_text: int, texts: int) -> None:
    block = block_texts(values_per_text, 2, texts)
    blocks = -(-texts // block)
    assert blocks * block - texts < blocks
    assert block >= min(texts, 16) // 2
