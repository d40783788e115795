"""Dumps: what is in them against the model itself, and what a kill, a cap and a mix-up do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from planish.methods.lookahead.data import RECORDS, Header
from planish.methods.lookahead.dumping.attending import Text, projections, sample, stretches
from planish.methods.lookahead.dumping.folder import PROJECTIONS, Dump, Shard, Writer
from planish.methods.lookahead.dumping.needs import needs_of
from planish.methods.lookahead.labels import Limits, Rule, label
from planish.methods.lookahead.running.dump import dump, spread
from planish.models.memory.backbone import Backbone
from planish.records import BadInput

CHUNK = 8


def _header(backbone: Backbone | None = None, /, **changes: Any) -> Header:
    values: dict[str, Any] = {
        "model": "hf:tiny",
        "backbone": {"weights": "abc"} if backbone is None else backbone.fingerprint(),
        "layers": (1,) if backbone is None else backbone.memory_layers,
        "memory_layers": (0, 1) if backbone is None else backbone.memory_layers,
        "hidden_size": 32,
        "num_heads": 4,
        "num_kv_heads": 2,
        "head_dim": 8,
        "features": 16,
        "chunk_tokens": CHUNK,
        "pooling": "mean",
        "dtype": "float32",
        "top_chunks": 0,
        "continuation": 24,
        "prompt_runs": 1,
        "run_tokens": 16,
    }
    return Header(**(values | changes))


def _shard(name: str, num: int = 5) -> Shard:
    tensors = {
        "starts": torch.arange(4, dtype=torch.int32) * CHUNK,
        "positions": torch.arange(40 - num, 40, dtype=torch.int32),
        "stretch": torch.zeros(num, dtype=torch.int32),
        "features.l1": torch.randn(4, 16),
        "hidden.l1": torch.randn(num, 32),
        "mass.values": torch.rand(num, 2, 4),
        "head.values": torch.rand(num, 2, 4),
    }
    return Shard(name, f"{name:>32}".replace(" ", "0"), 40, 35, ((40 - num, num),), tensors)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=60,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=512,
        attn_implementation="eager",
    )
    return Backbone.of(Qwen3ForCausalLM(config).eval())


def _text(length: int = 70, reply: int = 21) -> Text:
    random = torch.Generator().manual_seed(1)
    ids = torch.randint(0, 60, (length + reply,), generator=random).tolist()
    return Text("doc", ids[:length], ids[length:])


@pytest.mark.parametrize("piece", [1000, 16, 7])
def test_a_document_is_what_the_model_says(backbone: Backbone, piece: int) -> None:
    text, header = _text(), _header(backbone)
    shard = sample(backbone, text, header, piece)
    ids = torch.tensor([[*text.prompt, *text.continuation]])
    with torch.no_grad():
        whole = backbone.model(ids, output_attentions=True, use_cache=True)
    positions = shard.tensors["positions"].long()
    assert positions.tolist() == [
        place for start, num in shard.stretches for place in range(start, start + num)
    ]
    num_chunks = text.length // CHUNK
    for layer in backbone.memory_layers:
        weights = whole.attentions[layer][0][:, positions, : num_chunks * CHUNK]
        by_chunk = weights.reshape(4, len(positions), num_chunks, CHUNK).sum(-1)
        complete = (torch.arange(num_chunks) + 1) * CHUNK <= positions[:, None] + 1
        by_chunk = by_chunk * complete
        mass, head = shard.tensors["mass.values"][:, layer], shard.tensors["head.values"][:, layer]
        torch.testing.assert_close(mass, by_chunk.mean(0), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(head, by_chunk.amax(0), atol=1e-5, rtol=1e-4)
        # A chunk's features are the mean of its keys before they are rotated.
        with torch.no_grad(), backbone.capture([layer]) as hidden:
            backbone.model(ids)
            flat = backbone.keys(layer, hidden[layer], torch.zeros_like(ids))
        chunks = flat[0][:, : num_chunks * CHUNK].reshape(2, num_chunks, CHUNK, 8).mean(2)
        features = shard.tensors[f"features.l{layer}"]
        torch.testing.assert_close(
            features, chunks.transpose(0, 1).reshape(num_chunks, 16), atol=1e-5, rtol=1e-4
        )
        torch.testing.assert_close(
            shard.tensors[f"hidden.l{layer}"], hidden[layer][0, positions], atol=1e-5, rtol=1e-4
        )


def test_the_top_of_the_mass_is_the_top(backbone: Backbone) -> None:
    whole = sample(backbone, _text(), _header(backbone), 64).tensors
    part = sample(backbone, _text(), _header(backbone, top_chunks=3), 64).tensors
    for name in ("mass", "head"):
        values, chunks = whole[f"{name}.values"].topk(3, dim=-1)
        assert torch.equal(part[f"{name}.values"], values)
        assert torch.equal(part[f"{name}.chunks"].long(), chunks)
        assert torch.equal(part[f"{name}.total"], whole[f"{name}.values"].sum(-1))


def test_needs_end_where_the_reply_is_no_longer_the_answer(backbone: Backbone) -> None:
    prompt, reply = _text().prompt, _text().continuation
    needs = ((0, 3, 5), (2, 15, 17), (9, 40, 48))
    text = Text("doc", prompt, reply, needs, agreed=4)
    tensors = sample(backbone, text, _header(backbone), 64).tensors
    before = len(prompt) - 1
    assert tensors["needs"].tolist() == [[before, 0], [before + 2, 1], [before + 2, 2]]
    assert tensors["needs.span"].tolist() == [before, before + 4]


@settings(max_examples=60, deadline=None)
@given(
    prompt=st.integers(1, 300), reply=st.integers(0, 40), runs=st.integers(0, 4), seed=st.integers()
)
def test_stretches_are_apart_and_inside(prompt: int, reply: int, runs: int, seed: int) -> None:
    text = Text("x", [seed % 97] * prompt, [1] * reply)
    header = _header(prompt_runs=runs, seed=seed % 1000)
    found = stretches(text, header)
    assert found == stretches(text, header)
    taken = [place for start, num in found for place in range(start, start + num)]
    assert taken == sorted(set(taken))
    assert all(0 <= place < prompt + reply for place in taken)
    # The prompt's last token is decided at where all before it is read at once.
    assert not reply or set(range(prompt - 1, prompt + reply)) <= set(taken)
    assert len(found) <= runs + bool(reply)


def test_a_projection_gives_the_backbones_queries(backbone: Backbone) -> None:
    weights = projections(backbone, backbone.memory_layers)
    hidden = torch.randn(1, 1, 32)
    found = (hidden @ weights["l1"].T).view(1, 1, 4, 8).transpose(1, 2)
    real = backbone.queries(1, hidden, torch.zeros(1, 1, dtype=torch.long)).detach()
    # The norm's scale aside, which no linear map has.
    cosine = torch.cosine_similarity(found, real, dim=-1)
    torch.testing.assert_close(cosine, torch.ones_like(cosine))


def test_a_dump_is_read_as_it_was_written(tmp_path: Path) -> None:
    shards = [_shard("a"), _shard("b", 3)]
    with Writer(tmp_path / "dump", _header()) as writer:
        for shard in shards:
            writer.add(shard)
    found = Dump(tmp_path / "dump")
    assert [document.id for document in found.documents] == ["a", "b"]
    assert [document.num_tokens for document in found.documents] == [5, 3]
    for document, shard in zip(found.documents, shards, strict=True):
        tensors = found.tensors(document)
        assert tensors.keys() == shard.tensors.keys()
        assert all(torch.equal(tensors[name], shard.tensors[name]) for name in tensors)
    labels = label(
        found.sampled(found.documents[0]), Rule(), Limits(CHUNK, interval=2, recent_tokens=4)
    )
    assert labels.known_N.all()


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_kill_at_any_byte_loses_no_finished_document(data: st.DataObject) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "dump"
        ends = []
        with Writer(folder, _header()) as writer:
            for name in ("a", "b", "c"):
                writer.add(_shard(name))
                ends.append((folder / RECORDS).stat().st_size)
        cut = data.draw(st.integers(0, ends[-1]))
        raw = (folder / RECORDS).read_bytes()
        (folder / RECORDS).write_bytes(raw[:cut])
        (folder / "documents" / ".half.safetensors.tmp").write_bytes(b"half")
        whole = [name for name, end in zip("abc", ends, strict=True) if end <= cut]
        assert [document.id for document in Dump(folder).documents] == whole
        with Writer(folder, _header()) as writer:
            assert writer.done == set(whole)
            for name in ("a", "b", "c"):
                if name not in writer.done:
                    writer.add(_shard(name))
        found = Dump(folder)
        assert [document.id for document in found.documents] == ["a", "b", "c"]
        assert len(list((folder / "documents").iterdir())) == 3
        assert all(found.tensors(document) for document in found.documents)


def test_the_cap_refuses_the_next_document_whole(tmp_path: Path) -> None:
    folder = tmp_path / "dump"
    with Writer(folder, _header()) as writer:
        writer.add(_shard("a"))
        taken = writer.bytes
    assert taken == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    capped = _header(max_bytes=taken + 200)
    with (
        Writer(folder, capped) as writer,
        pytest.raises(BadInput, match=r"next document \(b\) needs"),
    ):
        writer.add(_shard("b"))
    assert [document.id for document in Dump(folder).documents] == ["a"]
    assert len(list((folder / "documents").iterdir())) == 1


@pytest.mark.parametrize(
    ("change", "told"),
    [({"backbone": {"weights": "other"}}, "another backbone"), ({"chunk_tokens": 16}, "chunk_tok")],
)
def test_another_dump_is_not_gone_on_with(
    tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    with Writer(tmp_path, _header()) as writer:
        writer.add(_shard("a"))
    with pytest.raises(BadInput, match=told):
        Writer(tmp_path, _header(**change))
    assert len(Dump(tmp_path).documents) == 1


def test_a_dump_of_less_known_weights_goes_on_and_vouches_for_no_more(tmp_path: Path) -> None:
    older, newer = {"weights": "abc"}, {"weights": "abc", "states": "def"}
    for made, gone_on in ((older, newer), (newer, newer)):
        folder = tmp_path / str(len(made))
        with Writer(folder, _header(backbone=made)) as writer:
            writer.add(_shard("a"))
        with Writer(folder, _header(backbone=gone_on)) as writer:
            writer.add(_shard("b"))
        assert Dump(folder).header.backbone == made
    with pytest.raises(BadInput, match="another backbone"):
        Writer(tmp_path / "2", _header(backbone=newer | {"states": "other"}))


def test_two_writers_do_not_share_a_folder(tmp_path: Path) -> None:
    with Writer(tmp_path, _header()), pytest.raises(BadInput, match="in use"):
        Writer(tmp_path, _header())


@pytest.mark.parametrize(
    "damage", ["gone", "empty", "cut", "longer", "zeros", "another", "stranger"]
)
def test_a_document_whose_file_was_damaged_leaves_the_dump(tmp_path: Path, damage: str) -> None:
    with Writer(tmp_path, _header()) as writer:
        for name in ("a", "b", "c"):
            writer.add(_shard(name))
    found = Dump(tmp_path)
    path, other = (tmp_path / each.file for each in found.documents[:2])
    raw = path.read_bytes()
    if damage == "gone":
        path.unlink()
    elif damage == "another":
        save_file(_shard("a", num=4).tensors, path)
    elif damage == "stranger":
        save_file({"hidden.l1": torch.zeros(5, 32)}, path)
    else:
        kinds = {"empty": b"", "cut": raw[:-1], "longer": raw + b"x", "zeros": bytes(len(raw))}
        path.write_bytes(kinds[damage])
    kept = other.read_bytes()
    with pytest.raises(BadInput, match="another backbone"):
        Writer(tmp_path, _header(backbone={"weights": "other"}))
    with Writer(tmp_path, _header()) as writer:
        assert writer.repaired == [
            "1 of 3 documents were damaged or lost and are taken anew: "
            + path.relative_to(tmp_path).as_posix()
        ]
        assert writer.done == {"b", "c"}
        assert not path.exists()
        assert [each.id for each in Dump(tmp_path).documents] == ["b", "c"]
        writer.add(_shard("a"))
        taken = writer.bytes
    assert other.read_bytes() == kept
    assert [each.id for each in Dump(tmp_path).documents] == ["b", "c", "a"]
    assert taken == sum(each.stat().st_size for each in tmp_path.rglob("*") if each.is_file())
    with Writer(tmp_path, _header()) as writer:
        assert not writer.repaired


def test_a_file_that_cannot_be_read_now_is_kept(tmp_path: Path) -> None:
    with Writer(tmp_path, _header()) as writer:
        writer.add(_shard("a"))
    path = tmp_path / Dump(tmp_path).documents[0].file
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(path.name)  # around in a circle
    with pytest.raises(BadInput, match="cannot be read"):
        Writer(tmp_path, _header())
    assert len(Dump(tmp_path).documents) == 1
    assert path.is_symlink()


def test_damage_is_told_by_its_place(tmp_path: Path) -> None:
    with Writer(tmp_path, _header()) as writer:
        writer.add(_shard("a"))
        writer.add(_shard("b"))
    path = tmp_path / RECORDS
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("{}\n" + lines[1])
    with pytest.raises(BadInput, match=r"records\.jsonl:1"):
        Dump(tmp_path)
    path.write_text("".join(lines))
    found = Dump(tmp_path)
    (tmp_path / found.documents[0].file).write_bytes(b"no tensors")
    with pytest.raises(BadInput, match="cannot be read"):
        found.tensors(found.documents[0])
    with pytest.raises(BadInput, match=r"no dump\.json"):
        Dump(tmp_path / "nowhere")


@settings(max_examples=40)
@given(num=st.integers(1, 40), most=st.integers(1, 40))
def test_layers_are_spread_and_the_last_is_among_them(num: int, most: int) -> None:
    layers = tuple(range(num))
    found = spread(layers, most)
    assert len(found) == min(num, most)
    assert list(found) == sorted(set(found))
    assert found[-1] == layers[-1]


# ---- the command


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, backbone: Backbone) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("model")
    words = {str(number): number for number in range(57)} | {"<u>": 57, "<e>": 58, ";": 59}
    plain = Tokenizer(models.WordLevel(words, unk_token="<u>"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain, unk_token="<u>", eos_token="<e>", pad_token="<e>"
    )
    tokenizer.save_pretrained(folder)
    backbone.model.save_pretrained(folder)
    return folder


def _documents(path: Path, num: int = 12) -> Path:
    random = torch.Generator().manual_seed(5)
    lines = []
    for number in range(num):
        ids = torch.randint(0, 57, (60,), generator=random).tolist()
        lines.append(json.dumps({"id": f"d{number}", "text": " ".join(map(str, ids))}))
    path.write_text("\n".join(lines) + "\n")
    return path


def _run(checkpoint: Path, tmp_path: Path, *words: Any, **given: Any) -> int:
    from planish.methods.lookahead.config import Dumping

    config = Dumping(
        chunk_tokens=CHUNK, continuation=12, run_tokens=16, dtype="float32", batch_size=4
    )
    return dump(
        model=f"hf:{checkpoint}",
        documents=tmp_path / "documents.jsonl",
        out=tmp_path / "dump",
        config=config,
        runs=tmp_path / "runs",
        json=True,
        **given,
    )


def test_the_command_dumps_and_goes_on(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _documents(tmp_path / "documents.jsonl")
    assert _run(checkpoint, tmp_path, limit=3) == 0
    assert json.loads(capsys.readouterr().out)["documents"] == 3
    with pytest.raises(BadInput, match="holds a dump; add --resume"):
        _run(checkpoint, tmp_path)
    assert _run(checkpoint, tmp_path, resume=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["documents_before"] == 3
    found = Dump(tmp_path / "dump")
    assert told["documents"] == len(found.documents) > 3
    assert told["bytes"] == sum(
        path.stat().st_size for path in (tmp_path / "dump").rglob("*") if path.is_file()
    )
    assert found.header.layers == (0, 1)
    first = found.documents[0]
    assert first.length > first.prompt >= 60


def test_the_command_heals_what_was_damaged_or_lost(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _documents(tmp_path / "documents.jsonl")
    assert _run(checkpoint, tmp_path, limit=6) == 0
    before = json.loads(capsys.readouterr().out)["documents"]
    found = Dump(tmp_path / "dump")
    shards = {each.id: found.tensors(each) for each in found.documents}
    first, second = (tmp_path / "dump" / each.file for each in found.documents[:2])
    first.write_bytes(first.read_bytes()[:-1])
    second.unlink()
    (tmp_path / "dump" / PROJECTIONS).write_bytes(b"half")
    assert _run(checkpoint, tmp_path, limit=6, resume=True) == 0
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert (told["documents_before"], told["documents"]) == (before - 2, before)
    assert f"2 of {before} documents were damaged or lost and are taken anew" in said.err
    again = Dump(tmp_path / "dump")
    assert again.projections()
    for document in again.documents:
        tensors = again.tensors(document)
        assert tensors.keys() == shards[document.id].keys()
        assert all(torch.equal(tensors[name], shards[document.id][name]) for name in tensors)


def test_the_command_stops_at_its_cap_and_keeps_what_is_there(
    checkpoint: Path, tmp_path: Path
) -> None:
    _documents(tmp_path / "documents.jsonl")
    with pytest.raises(BadInput, match="go on with a higher --max-gigabytes"):
        _run(checkpoint, tmp_path, max_gigabytes=60_000 / 1e9)
    held = [path.stat().st_size for path in (tmp_path / "dump").rglob("*") if path.is_file()]
    assert Dump(tmp_path / "dump").documents
    assert sum(held) <= 60_000


def test_needs_in_words_become_tokens(checkpoint: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    content, answer = "5 6 7 8 9 10", "8 9"
    text = f"1 2 {content} 3"
    ids, reply = tokenizer(text)["input_ids"], tokenizer(answer)["input_ids"]
    raw = [[0, 3, 2]]
    assert needs_of(raw, content, text, ids, reply, tokenizer) == ((0, 5, 7), (1, 5, 7))
    assert needs_of([[0, -1, 6]], content, text, ids, reply, tokenizer) is None
    assert needs_of(None, content, text, ids, reply, tokenizer) is None
    with pytest.raises(BadInput, match="outside the text"):
        needs_of([[0, 5, 2]], content, text, ids, reply, tokenizer)
    with pytest.raises(BadInput, match="cannot read the need"):
        needs_of([[0, 5]], content, text, ids, reply, tokenizer)
