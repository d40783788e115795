"""Opening a checkpoint: what works, what is refused in one line, and what names its revision."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
import transformers

from planish.models.load import load
from planish.models.local import LocalModel
from planish.models.local_loading import open_checkpoint, open_tokenizer
from planish.records import BadInput, Sampling, user
from support.checkpoints import KINDS, make_model, make_tokenizer, save_checkpoint

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def pristine(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("pristine") / "qwen3")


@pytest.fixture
def folder(pristine, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(pristine, tmp_path / "checkpoint")


def refused(path, match, **options):
    with pytest.raises(BadInput, match=match) as caught:
        LocalModel(str(path), name=f"hf:{path}", **options)
    line = str(caught.value)
    assert "\n" not in line
    assert str(path) in line
    return line


# -- what works -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_in_bfloat16_loads_as_float32_on_the_cpu(kind, tmp_path):
    path = save_checkpoint(tmp_path, kind, dtype="bfloat16")
    model = LocalModel(str(path), name="m", device="cpu")
    assert model.model.dtype == torch.float32
    assert len(model.generate([user("who?")], Sampling(max_tokens=5, seed=0))[0][0].token_ids)
    kept = LocalModel(str(path), name="m", device="cpu", dtype="auto")
    assert kept.model.dtype == torch.bfloat16
    (completion,) = kept.generate([user("who?")], Sampling(max_tokens=5, logprobs=True))[0]
    assert len(completion.logprobs) == len(completion.token_ids)
    (wide,), (narrow,) = (m.logprobs([user("who?")], ["the owl"]) for m in (model, kept))
    assert wide.total == pytest.approx(narrow.total, abs=0.5)


def test_the_end_tokens_are_the_checkpoint_s_and_the_tokenizer_s(folder):
    config = json.loads((folder / "generation_config.json").read_text())
    config["eos_token_id"] = [7, 9]
    (folder / "generation_config.json").write_text(json.dumps(config))
    assert open_checkpoint(str(folder)).eos_ids == (7, 9, 1)


def test_without_a_padding_token_the_end_token_fills_up(tmp_path):
    path = save_checkpoint(tmp_path, tokenizer=make_tokenizer(pad_token=None))
    assert open_checkpoint(str(path)).pad_id == 1


def test_load_opens_folders_by_name(folder):
    model = load(f"hf:{folder}?batch_size=3&dtype=bfloat16")
    assert (model.name, model.batch_size) == (f"hf:{folder}", 3)
    assert model.model.dtype == torch.bfloat16


def test_a_model_without_a_bounded_context_takes_any_prompt(tmp_path):
    config = transformers.MambaConfig(
        vocab_size=300, hidden_size=16, num_hidden_layers=1, state_size=4, eos_token_id=1
    )
    torch.manual_seed(0)
    transformers.MambaForCausalLM(config).save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    assert open_checkpoint(str(tmp_path)).max_positions is None


def test_loading_prints_nothing_and_leaves_the_libraries_as_they_were(folder):
    code = (
        "import sys, warnings\n"
        "from planish.models.local import LocalModel\n"
        "from planish.records import BadInput, Sampling, user\n"
        "from transformers.utils import logging\n"
        "before = logging.get_verbosity(), logging.is_progress_bar_enabled(), warnings.filters[:]\n"
        "model = LocalModel(sys.argv[1], name='m')\n"
        "model.generate([user('who?'), user('what is it?')], Sampling(max_tokens=3))\n"
        "try: LocalModel('nobody/nothing-here', name='m')\n"
        "except BadInput: pass\n"
        "after = logging.get_verbosity(), logging.is_progress_bar_enabled(), warnings.filters[:]\n"
        "assert before == after, (before, after)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder)},
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# -- what is refused ------------------------------------------------------------------------------


def test_a_folder_that_is_not_there(tmp_path):
    refused(tmp_path / "nowhere", "no such folder")
    refused("./nowhere", "no such folder")


def test_a_file_instead_of_a_folder(folder):
    refused(folder / "config.json", "no such folder")


def test_a_folder_without_a_config(tmp_path):
    refused(tmp_path, "no config.json in this folder")


def test_a_folder_without_a_tokenizer(folder):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    refused(folder, "no tokenizer in this folder")


def test_a_tokenizer_without_words(folder):
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    (folder / "vocab.json").write_text("{}")
    (folder / "merges.txt").write_text("#version: 0.2\n")
    refused(folder, "tokenizer")


def test_a_folder_without_weights(folder):
    (folder / "model.safetensors").unlink()
    refused(folder, "cannot load the model")


@pytest.mark.parametrize("size", [0, 5, 1000])
def test_weights_that_are_cut_off(folder, size):
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:size])
    refused(folder, "cannot load the model")


def test_weights_that_do_not_cover_the_architecture(folder):
    config = json.loads((folder / "config.json").read_text())
    config |= {"num_hidden_layers": 3, "layer_types": ["full_attention"] * 3}
    (folder / "config.json").write_text(json.dumps(config))
    refused(folder, r"the weights lack 11 tensors of the architecture, model.layers.2.\S+ first")


def test_weights_of_another_shape(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hidden_size": 48}))
    refused(folder, "cannot load the model: the weights have other shapes")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"model_type": "no-such-thing"}'])
def test_a_config_that_is_none(folder, text):
    (folder / "config.json").write_text(text)
    refused(folder, "cannot load the model")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"model": 3}'])
def test_a_tokenizer_that_is_none(folder, text):
    (folder / "tokenizer.json").write_text(text)
    refused(folder, "tokenizer")


def test_a_model_that_is_no_causal_language_model(tmp_path):
    config = transformers.ViTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    transformers.ViTModel(config).save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    refused(tmp_path, "not a causal language model")


def test_a_tokenizer_without_an_end_token(tmp_path):
    path = save_checkpoint(tmp_path, tokenizer=make_tokenizer(eos_token=None))
    refused(path, "no end-of-sequence token")


def test_a_tokenizer_with_more_tokens_than_the_model_has_rows(tmp_path):
    path = save_checkpoint(tmp_path, vocabulary=200)
    refused(path, r"ids up to 299, the model only 200 rows")


def test_an_unknown_dtype(folder):
    refused(folder, r"no dtype 'float12'; use one of auto, float32", dtype="float12")


@pytest.mark.parametrize("device", ["nowhere", "cuda:99", "meta", "cpu:x"])
def test_an_unknown_device(folder, device):
    with pytest.raises(BadInput, match="device"):
        LocalModel(str(folder), name="m", device=device)


def test_a_batch_without_rows(folder):
    with pytest.raises(BadInput, match="batch_size"):
        LocalModel(str(folder), name="m", batch_size=0)


def test_code_inside_a_checkpoint_is_not_run(folder):
    config = json.loads((folder / "config.json").read_text())
    config |= {"auto_map": {"AutoModelForCausalLM": "evil.Evil"}, "model_type": "evil"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text("raise SystemExit('it ran')")
    refused(folder, "cannot load the model")


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("nobody/nothing-here", "no copy in the cache, and the Hub cannot be reached"),
        ("not a repo", "cannot load the model"),
        ("a/b/c", "no such folder"),
    ],
)
def test_hub_names_that_bring_nothing(name, match, monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    refused(name, match)


def test_a_hub_that_is_out_of_reach_is_asked_once(monkeypatch, tmp_path):
    from huggingface_hub import constants

    def wait(seconds):
        raise AssertionError(f"waits {seconds} s to ask again")

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", wait)
    refused("nobody/nothing-here", "no such folder, no copy in the cache, and the Hub cannot")
    with pytest.raises(BadInput, match="the Hub cannot be reached"):
        open_tokenizer("nothing-here")


# -- revision -------------------------------------------------------------------------------------


def revision(folder, **options):
    return LocalModel(str(folder), name="m", **options).revision


def test_the_revision_goes_with_the_content_not_with_the_place(pristine, folder):
    assert revision(folder) == revision(pristine)
    assert revision(folder).endswith("-float32")
    assert revision(folder, dtype="bfloat16") != revision(folder)
    (folder / "optimizer.pt").write_bytes(b"not part of the model")
    assert revision(folder) == revision(pristine)


def test_the_revision_changes_with_weights_template_and_end_tokens(pristine, folder):
    seen = {revision(folder)}
    make_model("qwen3", seed=3).save_pretrained(folder)
    seen.add(revision(folder))
    (folder / "chat_template.jinja").write_text("{{ messages[0].content }}")
    seen.add(revision(folder))
    config = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps(config | {"eos_token_id": [1, 9]}))
    seen.add(revision(folder))
    assert len(seen) == 4
