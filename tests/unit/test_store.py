"""Reading and writing files: nothing half-written, nothing damaged taken for whole."""

import json
import os

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from letterlib.errors import LetterError
from letterlib.store import (
    atomic_write,
    content_of_folder,
    digest,
    load_table,
    load_tensors,
    read_json,
    save_table,
    save_tensors,
    sha256_of,
    write_json,
)


def test_an_interrupted_write_leaves_the_old_file_and_no_scratch(tmp_path):
    target = tmp_path / "a.json"
    write_json(target, {"old": 1})
    with pytest.raises(KeyboardInterrupt), atomic_write(target) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert json.loads(target.read_text()) == {"old": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_that_holds_something_is_never_replaced(tmp_path):
    (tmp_path / "stage").mkdir()
    with atomic_write(tmp_path / "stage") as temporary:  # an empty one may be
        temporary.mkdir()
        (temporary / "first").write_text("first")
    for make in ("mkdir", "touch"):
        with (
            pytest.raises(OSError, match="stage"),
            atomic_write(tmp_path / "stage") as temporary,
        ):
            getattr(temporary, make)()
    assert [path.name for path in tmp_path.rglob("*")] == ["stage", "first"]


def test_a_full_disk_leaves_nothing_half_written(tmp_path):
    """safetensors, with which checkpoints and models are written, has an error of its own."""
    resource = pytest.importorskip("resource", reason="Windows has no limit for a file's size")
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, usual[1]))
    try:
        with pytest.raises(OSError, match="model.safetensors: .*File too large"):
            save_tensors(tmp_path / "model.safetensors", {"a": torch.zeros(10_000)})
        with pytest.raises(OSError, match="File too large"):
            write_json(tmp_path / "a.json", "a" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_a_class_may_read_a_model_as_far_as_the_umask_lets_it(tmp_path):
    """safetensors makes files for their owner alone."""
    before = os.umask(0o027)
    try:
        save_tensors(tmp_path / "model.safetensors", {"a": torch.zeros(1)})
    finally:
        os.umask(before)
    assert (tmp_path / "model.safetensors").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"0": [1, 2', "line 1 column 12.*truncated"),
        (b"\xff\xfe\x00", "utf-8"),
    ],
)
def test_a_broken_json_file_says_where_it_is_broken(tmp_path, content, words):
    (tmp_path / "Beauty.inter.json").write_bytes(content)
    with pytest.raises(LetterError, match=f"Beauty.inter.json: not valid JSON.*{words}"):
        read_json(tmp_path / "Beauty.inter.json")


def test_a_missing_file_is_one_clear_line(tmp_path):
    for read in (read_json, sha256_of, load_tensors, load_table):
        with pytest.raises(LetterError, match="none: no such file"):
            read(tmp_path / "none")


def test_tensors_and_their_header_come_back_and_the_same_gives_the_same_bytes(tmp_path):
    tensors = {
        "b": torch.randn(3, 2).T,
        "a": torch.ones(2, dtype=torch.bfloat16),
        "c": torch.zeros(0, 4),
    }
    header = {"name": "Café", "losses": [0.1, 1 / 3], "sizes": {"3": None}}
    for name in ("one", "two"):
        save_tensors(tmp_path / name, tensors, header)
    back, about = load_tensors(tmp_path / "one")
    assert about == header and back.keys() == tensors.keys()
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)
    assert back["a"].dtype == torch.bfloat16
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_changed_bit_anywhere_in_a_file_of_tensors_is_noticed(tmp_path):
    path, tensors = tmp_path / "a", {"a": torch.tensor([1.5, 2.5])}
    save_tensors(path, tensors, {"seed": 3})
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            back, header = load_tensors(path)
        except LetterError:
            continue
        # What is not covered by the hash: the name of the metadata entry, white space.
        assert torch.equal(back["a"], tensors["a"]) and header in ({"seed": 3}, {})


def test_tensors_without_our_header_are_read_and_ours_without_a_hash_are_refused(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "theirs", metadata={"format": "pt"})
    assert load_tensors(tmp_path / "theirs")[1] == {}
    save_file({"a": torch.ones(2)}, tmp_path / "ours", metadata={"letterlib": '{"seed": 0}'})
    with pytest.raises(LetterError, match="ours: damaged"):
        load_tensors(tmp_path / "ours")
    for header in ("[]", "null", "0", '""'):
        save_file({"a": torch.ones(2)}, tmp_path / "ours", metadata={"letterlib": header})
        with pytest.raises(LetterError, match="ours: damaged"):
            load_tensors(tmp_path / "ours")


def test_a_table_and_its_header_come_back_and_a_changed_bit_in_its_values_is_noticed(tmp_path):
    frame = pd.DataFrame({"item": np.arange(5), "title": list("abcde")})
    save_table(tmp_path / "a", frame, {"source": "made"})
    table, header = load_table(tmp_path / "a")
    pd.testing.assert_frame_equal(table.to_pandas(), frame)
    assert header == {"source": "made"}
    whole = (tmp_path / "a").read_bytes()
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    for place in range(4, footer):
        changed = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        (tmp_path / "a").write_bytes(changed)
        try:
            assert load_table(tmp_path / "a")[0].equals(table), place
        except LetterError as error:
            assert "damaged" in str(error)


def test_the_digest_tells_apart_values_shapes_types_and_order():
    a = np.arange(6)
    others = [
        (a.reshape(2, 3),),
        (a.astype(np.int32),),
        (a[::-1],),
        (a, "x"),
        ("x", a),
        ({"a": 1},),
        ({"a": 2},),
        (torch.arange(6),),
        (torch.arange(6).reshape(2, 3),),
        (torch.arange(6).bfloat16(),),
        (["None"],),
        ([None],),
    ]
    assert len({digest(*parts) for parts in [(a,), *others]}) == len(others) + 1
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    with pytest.raises(TypeError, match="not JSON serializable"):  # not hashed by its address
        digest({"seed": np.int64(1)})


def test_the_content_of_a_folder_is_its_files_and_not_its_name(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "weights").write_text("1")
    before = content_of_folder(tmp_path / "a")
    assert before == content_of_folder(tmp_path / "b") and len(before) == 1
    (tmp_path / "a" / "deep" / "weights").write_text("2")
    assert content_of_folder(tmp_path / "a") != before
    (tmp_path / "b" / "deep" / "weights").rename(tmp_path / "b" / "deep" / "value")
    assert content_of_folder(tmp_path / "b") != before
    for name in (tmp_path / "none", "minilm", ""):
        assert content_of_folder(name) == []
    assert content_of_folder(str(tmp_path / "a"), str(tmp_path / "a")) == []
