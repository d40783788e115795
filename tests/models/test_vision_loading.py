"""Opening `hf:` checkpoints that see: what must lie beside the weights, and what is said if not."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from planish.models import load, vision_loading
from planish.models.local import LocalModel
from planish.models.local_loading import open_checkpoint
from planish.records import BadInput, Sampling, user
from support.checkpoints import save_checkpoint
from support.vision import look, picture, save_vision

torch.set_num_threads(1)

GREEDY = Sampling(temperature=0, max_tokens=6)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    root = tmp_path_factory.mktemp("vision")
    return {kind: save_vision(root / kind, kind) for kind in ("qwen2_5_vl", "gemma3", "llava")}


@pytest.fixture(scope="session")
def chats(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    return [look("what is it?", picture(folder, 1)), user("who are you?")]


def test_weights_in_bfloat16_see_too(checkpoints, chats):
    for kind in ("qwen2_5_vl", "gemma3"):
        model = load(f"hf:{checkpoints[kind]}?dtype=bfloat16&batch_size=3")
        for (completion,) in model.generate(chats, Sampling(max_tokens=3, seed=1)):
            assert completion.finish != "error"


def test_a_checkpoint_that_is_open_can_be_used_twice(checkpoints, chats):
    opened = open_checkpoint(str(checkpoints["llava"]), images=True)
    one, two = (LocalModel("x", name="hf:x", checkpoint=opened) for _ in range(2))
    assert one.generate(chats, GREEDY)[0][0].text == two.generate(chats, GREEDY)[0][0].text


def without(folder, tmp_path, *names):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    for name in names:
        (copy / name).unlink()
    return copy


def test_a_model_that_only_sees_needs_its_processor(checkpoints, tmp_path):
    folder = without(checkpoints["qwen2_5_vl"], tmp_path, "preprocessor_config.json")
    with pytest.raises(BadInput, match=r"image processor \(preprocessor_config.json\)") as caught:
        LocalModel(str(folder), name="hf:x")
    assert "save_pretrained" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_that_also_writes_text_alone_does_so_without_its_processor(
    checkpoints, tmp_path, chats
):
    folder = without(checkpoints["gemma3"], tmp_path, "processor_config.json")
    model = LocalModel(str(folder), name="hf:x")
    text = [user("who are you?")]
    whole = LocalModel(str(checkpoints["gemma3"]), name="hf:y")
    found, expected = (m.label_logprobs(text, ("A", "B")) for m in (model, whole))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    with pytest.raises(BadInput, match="lacks its image processor"):
        model.generate(chats[:1], GREEDY)


@pytest.mark.parametrize("text", ["", "[", "[]", '{"processor_class": 3}'])
def test_a_processor_that_is_none(checkpoints, tmp_path, text):
    folder = without(checkpoints["gemma3"], tmp_path)
    (folder / "processor_config.json").write_text(text)
    with pytest.raises(BadInput, match=r"copy: cannot load the image processor") as caught:
        LocalModel(str(folder), name="hf:x")
    assert "\n" not in str(caught.value)


def test_the_revision_covers_how_images_are_prepared(checkpoints, tmp_path):
    for kind, name in (("qwen2_5_vl", "preprocessor"), ("gemma3", "processor")):
        folder = without(checkpoints[kind], tmp_path / kind)
        revision = LocalModel(str(checkpoints[kind]), name="m").revision
        assert LocalModel(str(folder), name="m").revision == revision
        file = folder / f"{name}_config.json"
        file.write_text(file.read_text() + " ")
        assert LocalModel(str(folder), name="m").revision != revision


@pytest.mark.parametrize("package", ["torchvision", "num2words"])
def test_a_processor_that_needs_another_package(checkpoints, monkeypatch, package):
    def fails(_):
        raise ImportError(f"\nThis processor requires the {package.title()} library\nbut it was")

    monkeypatch.setattr(vision_loading, "open_processor", fails)
    with pytest.raises(BadInput, match=f"needs {package} to be installed; pip install {package}"):
        LocalModel(str(checkpoints["gemma3"]), name="hf:x")


def test_videos_are_left_out(checkpoints):
    # Their half of Qwen's processor needs torchvision.
    processor, blind = vision_loading.open_processor(str(checkpoints["qwen2_5_vl"]))
    assert not blind
    assert not hasattr(processor, "video_processor")


def test_without_being_asked_a_checkpoint_is_opened_for_text(checkpoints, tmp_path):
    assert open_checkpoint(str(checkpoints["gemma3"])).processor is None
    assert vision_loading.open_processor(str(save_checkpoint(tmp_path)))[0] is None
    assert vision_loading.open_processor(str(tmp_path / "none"))[0] is None
