"""Editors keep to one contract, a paid edit is kept before anything else, and never made twice."""

from __future__ import annotations

import io
import json
import pickle
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from planish.methods.vfaith.editing import openai_images
from planish.methods.vfaith.editing.contract import (
    EditFailed,
    EditRefused,
    EditRequest,
    EditResult,
    cropped,
    load_editor,
    request_key,
)
from planish.methods.vfaith.editing.fitting import fit
from planish.methods.vfaith.editing.openai_images import nearest_size
from planish.methods.vfaith.editing.scene import SceneEditor
from planish.methods.vfaith.editing.shelf import Shelf
from planish.methods.vfaith.images import decode, encode
from planish.methods.vfaith.scenes import FAMILIES
from planish.records import BadInput
from support.image_server import PAINT, USAGE, ImageServer

SNAPSHOT = "gpt-image-2-2026-04-21"


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[Callable[..., ImageServer]]:
    servers: list[ImageServer] = []

    def start(**options: Any) -> ImageServer:
        servers.append(ImageServer(**options))
        return servers[-1]

    yield start
    for one in servers:
        one.close()


def request(width: int = 96, height: int = 64, **changes: Any) -> EditRequest:
    """Smooth colours, with a box that may be changed."""
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack(
        [columns * 200 // width + 20, rows * 200 // height + 20, np.full_like(rows, 90)], axis=-1
    ).astype(np.uint8)
    mask = np.zeros((height, width), bool)
    mask[height // 4 : height // 2, width // 4 : width // 2] = True
    given = {"image": encode(pixels), "instruction": "Make the box blue.", "mask": encode(mask)}
    return EditRequest(**{**given, **changes})


def pixels_of(data: bytes, size: tuple[int, int]) -> Any:
    image = Image.fromarray(decode(data, "edit").pixels)
    return np.asarray(image.resize(size, Image.Resampling.LANCZOS)).astype(int)


# ---- the contract


def test_everything_that_is_asked_is_in_the_key() -> None:
    first = request()
    changes: list[dict[str, Any]] = [
        {"image": encode(np.zeros((4, 4, 3), np.uint8))}, {"instruction": "no"}, {"mask": None},
        {"scene": {"family": "colours"}}, {"change": {"path": [], "value": 1}}, {"seed": 1},
        {"params": {"quality": "low"}},
    ]  # fmt: skip
    keys = {first.key, *(replace(first, **change).key for change in changes)}
    assert len(keys) == 1 + len(changes)
    assert request().key == first.key


def test_who_is_asked_is_in_the_key_too() -> None:
    specs = ["openai:a@http://h/v1", "openai:b@http://h/v1", "openai:a@http://i/v1",
             "openai:a@http://h/v1?quality=low", "openai:a@http://h/v1?input_fidelity=low",
             "scene"]  # fmt: skip
    assert len({request_key(load_editor(spec), request()) for spec in specs}) == len(specs)
    patient = load_editor("openai:a@http://h/v1?timeout=9&retries=1")
    assert request_key(patient, request()) == request_key(load_editor(specs[0]), request())


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("", "does not name an editor"),
        ("paint:x", "does not name an editor"),
        ("scene:x", "does not name an editor"),
        ("diffusers:", "does not name an editor"),
        ("openai:", "no model is named"),
        ("openai:@http://h/v1", "no model is named"),
        ("openai:http://h/v1", "no model is named"),
        ("openai:chatgpt-image-latest@http://h/v1", "not pinned"),
        ("openai:m@http:///v1", "not the address"),
        (f"openai:{SNAPSHOT}", "no key for the OpenAI API"),
        ("openai:m@http://h/v1?qualty=low", "there is no option 'qualty'"),
        ("openai:m@http://h/v1?quality=best", "option quality"),
        ("openai:m@http://h/v1?size=big", "option size"),
        ("openai:m@http://h/v1?timeout=0", "option timeout"),
        ("openai:m@http://h/v1?timeout", "should read option=value"),
        ("openai:gpt-image-1-mini@http://h/v1?input_fidelity=high", "not for -mini"),
        (f"openai:{SNAPSHOT}@http://h/v1?input_fidelity=low", "takes no input_fidelity"),
        ("diffusers:./nowhere", "no pipeline is saved there"),
    ],
)
def test_what_names_no_editor_is_refused_in_one_line(spec: str, said: str) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        load_editor(spec)
    assert "\n" not in str(caught.value)


@given(
    st.tuples(st.integers(1, 200), st.integers(1, 200)),
    st.tuples(st.integers(20, 300), st.integers(20, 300)),
    st.booleans(),
)
def test_a_fitted_picture_comes_back_in_its_own_shape(
    size: tuple[int, int], native: tuple[int, int], enlarge: bool
) -> None:
    width, height = size
    pixels = np.full((height, width, 3), 7, np.uint8)
    editable = np.zeros((height, width), bool)
    editable[0, 0] = True
    fitted = fit(pixels, editable, native, enlarge=enlarge)
    assert fitted.pixels.shape == (native[1], native[0], 3)
    assert fitted.editable.shape == (native[1], native[0])
    assert fitted.editable.any()  # not a pixel of the mask is lost
    assert (fitted.pixels == 7).all()  # nor a foreign colour brought in
    result = EditResult(
        encode(fitted.pixels), "b", "v", "k", {}, True, False, native, fitted.window
    )
    back = decode(cropped(result).image, "it").size
    scale = min(native[0] / width, native[1] / height)
    scale = scale if enlarge else min(scale, 1)
    expected = [max(1, round(side * scale)) for side in size]
    assert all(abs(a - b) <= 1 for a, b in zip(back, expected, strict=True))


def test_padding_is_protected_and_the_picture_stays_in_place() -> None:
    ask = request(90, 30)
    raw = decode(ask.image, "it").pixels
    fitted = fit(raw, np.ones((30, 90), bool), (90, 90))
    assert (fitted.pixels[30:60] == raw).all()
    assert fitted.editable[30:60].all()
    assert not fitted.editable[:30].any()
    assert not fitted.editable[60:].any()
    assert (fitted.pixels[:30] == raw[0]).all()


# ---- scenes


def test_the_scene_editor_draws_what_was_asked_and_nothing_else() -> None:
    scene, knobs = FAMILIES["colours"].sample(random.Random(0), 256)
    knob = knobs[0]
    change = {"path": list(knob.path), "value": knob.values[1]}
    raw = encode(scene.draw())
    ask = EditRequest(image=raw, instruction="...", scene=scene.dump(), change=change)
    result = SceneEditor().edit(ask)
    assert result == SceneEditor().edit(ask)
    assert (result.deterministic, result.exact_mask) == (True, True)
    assert result.native_size == (256, 256)
    after = decode(result.image, "it").pixels
    assert (after == np.asarray(scene.changed(knob.path, knob.values[1]).draw())).all()
    changed = (after != decode(raw, "it").pixels).any(-1)
    rows, columns = np.nonzero(changed)
    left, top, right, bottom = (256 * side for side in scene.region(knob.path))
    assert left - 1 <= columns.min() <= columns.max() <= right + 1
    assert top - 1 <= rows.min() <= rows.max() <= bottom + 1


@pytest.mark.parametrize(
    ("scene", "change", "said"),
    [
        (None, None, "comes without one"),
        ({"family": "no such"}, {"path": ["a"], "value": 1}, "does not allow"),
        ("scene", {"path": ["nowhere"], "value": 1}, "does not allow"),
        ("scene", {"path": ["size"], "value": 1}, "does not allow"),
        ("scene", {"value": 1}, "does not allow"),
    ],
)
def test_a_change_that_the_scene_does_not_allow_is_one_line(
    scene: Any, change: Any, said: str
) -> None:
    if scene == "scene":
        scene = FAMILIES["colours"].sample(random.Random(0), 256)[0].dump()
    with pytest.raises(BadInput, match=said):
        SceneEditor().edit(request(scene=scene, change=change))


# ---- an endpoint


@given(st.integers(1, 8000), st.integers(1, 8000))
def test_the_nearest_size_is_one_that_the_model_can_do(width: int, height: int) -> None:
    free = nearest_size((width, height), SNAPSHOT)
    assert all(side % 16 == 0 for side in free)
    assert 1 / 3 <= free[0] / free[1] <= 3
    assert 0.8 <= free[0] * free[1] / 2**20 <= 1.3
    bounded = min(max(width / height, 1 / 3), 3)
    assert abs(free[0] / free[1] / bounded - 1) < 0.03
    for model in ("gpt-image-1.5", "gpt-image-1-mini", "gpt-image-1", "m"):
        fixed = nearest_size((width, height), model)
        assert fixed in ((1024, 1024), (1536, 1024), (1024, 1536))


@pytest.mark.parametrize("model", ["m", SNAPSHOT])
@pytest.mark.parametrize("size", [(96, 64), (64, 64), (50, 120)])
def test_an_edit_changes_what_is_not_black_in_the_mask(
    server: Callable[..., ImageServer], tmp_path: Path, model: str, size: tuple[int, int]
) -> None:
    ask = request(*size)
    there = server()
    result = Shelf(tmp_path).edit(load_editor(f"openai:{model}@{there.url}"), ask)
    assert (result.deterministic, result.exact_mask) == (False, False)
    before = pixels_of(ask.image, size)
    after = pixels_of(result.image, size)
    mask = decode(ask.mask or b"", "mask").pixels[..., 0] > 0
    inner = mask & np.roll(mask, 2, 0) & np.roll(mask, -2, 0) & np.roll(mask, 2, 1)
    inner &= np.roll(mask, -2, 1)
    outer = ~(mask | np.roll(mask, 3, 0) | np.roll(mask, -3, 0))
    outer &= ~(np.roll(mask, 3, 1) | np.roll(mask, -3, 1))
    assert abs(after[inner] - PAINT).max() <= 3
    assert abs(after - before)[outer].max() <= 8  # once larger and back: all in its place
    width, height = result.native_size
    assert there.log[0]["size"] == f"{width}x{height}"
    assert width * height > 800_000


def test_the_wire_carries_what_the_endpoint_asks_for(
    server: Callable[..., ImageServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    there = server()
    editor = load_editor(f"openai:m@{there.url}?quality=low&input_fidelity=high")
    result = editor.edit(request())
    sent = there.log[0]
    assert (sent["model"], sent["quality"], sent["input_fidelity"], sent["n"]) == (
        "m", "low", "high", "1",
    )  # fmt: skip
    assert sent["prompt"] == "Make the box blue."
    assert sent["authorization"] == "Bearer sk-secret"
    assert "seed" not in sent
    image, mask = (Image.open(io.BytesIO(sent[name])) for name in ("image", "mask"))
    assert image.format == mask.format == "PNG"
    assert image.size == mask.size == (1536, 1024)
    alpha = np.asarray(mask)[..., 3]
    assert set(np.unique(alpha)) == {0, 255}
    assert (alpha == 0).mean() == pytest.approx(1 / 16, abs=0.01)  # editable, and only that
    assert {**USAGE, "seconds": result.usage["seconds"]} == result.usage
    assert "sk-secret" not in repr(result) + editor.version
    editor.edit(request(mask=None, params={"quality": "medium", "size": "1024x1024"}))
    assert "mask" not in there.log[1]
    assert (there.log[1]["quality"], there.log[1]["size"]) == ("medium", "1024x1024")


@pytest.mark.parametrize("fault", ["429", "500", "503", "drop"])
def test_a_passing_fault_is_tried_again(server: Callable[..., ImageServer], fault: str) -> None:
    there = server(script=(fault,))
    result = load_editor(f"openai:m@{there.url}?size=96x64").edit(request())
    assert [row["kind"] for row in there.log] == [fault, "ok"]
    assert decode(result.image, "it").size == (96, 64)


@pytest.mark.parametrize(
    ("fault", "kind", "said"),
    [
        ("429", EditFailed, "http 429 2 times"),
        ("500", EditFailed, "http 500 2 times"),
        ("drop", EditFailed, "no connection"),
        ("html", EditFailed, "holds no picture in base64"),
        ("half-json", EditFailed, "holds no picture in base64"),
        ("no-data", EditFailed, "holds no picture in base64"),
        ("url", BadInput, "an address in place of the picture"),
        ("moderation", EditRefused, "moderation refuses this edit.*safety system"),
        ("400", BadInput, "http 400: .*planted 400"),
        ("401", BadInput, "check the key in OPENAI_API_KEY"),
        ("403", BadInput, "check the model 'm'"),
        ("404", BadInput, "check the model 'm'"),
        ("quota", BadInput, "no credit left"),
    ],
)
def test_a_lasting_fault_is_one_line_and_nothing_is_kept(
    server: Callable[..., ImageServer], tmp_path: Path, fault: str, kind: type[Exception], said: str
) -> None:
    there = server(then=fault)
    editor = load_editor(f"openai:m@{there.url}?size=96x64&retries=1")
    with pytest.raises(kind, match=said) as caught:
        Shelf(tmp_path).edit(editor, request())
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, BadInput) == issubclass(kind, BadInput)
    assert not list(tmp_path.glob("*/result.json"))
    there.then = "ok"
    assert Shelf(tmp_path).edit(editor, request()).usage["total_tokens"] == 1256


def test_a_slow_endpoint_is_waited_for_and_no_longer_than_told(
    server: Callable[..., ImageServer],
) -> None:
    there = server(delay=0.3)
    assert load_editor(f"openai:m@{there.url}?size=96x64&timeout=20").edit(request()).image
    with pytest.raises(EditFailed, match=r"no picture within 0\.1 s, 1 times"):
        load_editor(f"openai:m@{there.url}?size=96x64&timeout=0.1&retries=0").edit(request())


def test_nobody_there_is_one_line(server: Callable[..., ImageServer]) -> None:
    there = server()
    there.close()
    with pytest.raises(EditFailed, match="is the server there"):
        load_editor(f"openai:m@{there.url}?retries=0").edit(request())


def test_bad_edits_are_kept_as_they_came_and_told_by_the_pixels(
    server: Callable[..., ImageServer], tmp_path: Path
) -> None:
    kinds = ("leak", "no-op", "wrong-size", "wrong-aspect", "truncated", "jpeg")
    there = server(script=kinds)
    editor = load_editor(f"openai:m@{there.url}?size=96x64")
    shelf = Shelf(tmp_path)
    made = {kind: shelf.edit(editor, request(seed=seed)) for seed, kind in enumerate(kinds)}
    assert there.count() == len(kinds)
    before = pixels_of(request().image, (96, 64))
    assert abs(pixels_of(made["leak"].image, (96, 64)) - before)[40:].mean() > 10
    assert abs(pixels_of(made["no-op"].image, (96, 64)) - before).max() <= 8
    assert made["wrong-size"].native_size == (48, 32)
    assert made["wrong-aspect"].native_size == (32, 64)
    assert decode(made["wrong-aspect"].image, "it").size == (32, 64)
    with pytest.raises(BadInput):
        decode(made["truncated"].image, "it")
    assert made["truncated"].image.startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.glob("*/*.jpg")] == ["image.jpg"]
    again = {kind: shelf.edit(editor, request(seed=seed)) for seed, kind in enumerate(kinds)}
    assert again == made
    assert there.count() == len(kinds)  # not even the broken one is paid for twice


@pytest.mark.parametrize(
    ("kind", "native", "size"),
    [
        ("ok", (90, 90), (90, 30)),  # the padding comes off
        ("wrong-size", (45, 45), (45, 15)),  # here too: the shape is the same
        ("wrong-aspect", (30, 90), (30, 90)),  # not here: nothing is where it was
        ("truncated", (90, 90), None),
    ],
)
def test_padding_comes_off_what_has_the_shape_that_was_asked_for(
    server: Callable[..., ImageServer],
    tmp_path: Path,
    kind: str,
    native: tuple[int, int],
    size: tuple[int, int] | None,
) -> None:
    editor = load_editor(f"openai:m@{server(then=kind).url}?size=90x90")
    result = Shelf(tmp_path).edit(editor, request(90, 30))
    assert result.native_size == native
    if size is None:
        with pytest.raises(BadInput):
            decode(result.image, "it")
    else:
        assert decode(result.image, "it").size == size


def test_what_the_endpoint_cannot_take_is_refused_before_it_is_sent(
    server: Callable[..., ImageServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = server()
    editor = load_editor(f"openai:m@{there.url}")
    with pytest.raises(BadInput, match="32,001 characters"):
        editor.edit(request(instruction="x" * 32_001))
    with pytest.raises(BadInput, match="the mask has 5 x 5 pixels, its picture 96 x 64"):
        editor.edit(request(mask=encode(np.ones((5, 5), bool))))
    with pytest.raises(BadInput, match="there is no option 'strength'"):
        editor.edit(request(params={"strength": 1}))
    for limit, said in (("_MOST_IMAGE", "the picture has"), ("_MOST_MASK", "the mask has")):
        with monkeypatch.context() as patch:
            patch.setattr(openai_images, limit, 50)
            with pytest.raises(BadInput, match=said):
                editor.edit(request())
    assert there.count() == 0


# ---- the shelf


class Counting:
    """An editor whose every call is counted, and which dies if told so."""

    name, version = "counting", "1"

    def __init__(self, dies: bool = False, wait: float = 0.0) -> None:
        self.calls, self.dies, self.wait = 0, dies, threading.Event()
        self.slow = wait

    def edit(self, ask: EditRequest) -> EditResult:
        self.calls += 1
        self.wait.wait(self.slow)
        if self.dies:
            raise EditFailed("no picture")
        return EditResult(ask.image, self.name, self.version, "", {"n": 1}, False, False, (96, 64))


def test_a_kept_edit_is_never_made_again(tmp_path: Path) -> None:
    editor, shelf = Counting(), Shelf(tmp_path / "edits")
    first = shelf.edit(editor, request())
    assert first.request == request_key(editor, request())
    assert Shelf(tmp_path / "edits").edit(editor, request()) == first
    assert editor.calls == 1
    shelf.edit(editor, request(seed=1))
    assert editor.calls == 2
    folder = tmp_path / "edits" / first.request
    assert sorted(path.name for path in folder.iterdir()) == ["image.png", "result.json"]
    kept = json.loads((folder / "result.json").read_text())
    assert kept["instruction"] == "Make the box blue."
    assert (kept["usage"], kept["native_size"]) == ({"n": 1}, [96, 64])
    assert not [path for path in (tmp_path / "edits").iterdir() if path.name.startswith(".")]


def test_an_edit_that_failed_is_made_next_time(tmp_path: Path) -> None:
    with pytest.raises(EditFailed):
        Shelf(tmp_path).edit(Counting(dies=True), request())
    editor = Counting()
    Shelf(tmp_path).edit(editor, request())
    assert editor.calls == 1


def test_threads_that_want_the_same_edit_pay_once(tmp_path: Path) -> None:
    editor, results = Counting(wait=0.05), list[EditResult]()
    threads = [
        threading.Thread(target=lambda: results.append(Shelf(tmp_path).edit(editor, request())))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert editor.calls == 1
    assert len(results) == 8
    assert all(result == results[0] for result in results)


PROCESS = """
import sys
from pathlib import Path
from planish.methods.vfaith.editing.contract import EditRequest, load_editor
from planish.methods.vfaith.editing.shelf import Shelf
image = Path(sys.argv[3]).read_bytes()
for seed in range(3):
    Shelf(Path(sys.argv[1])).edit(
        load_editor(sys.argv[2]), EditRequest(image=image, instruction="x", seed=seed)
    )
"""


def three_edits(tmp_path: Path, there: ImageServer) -> list[Any]:
    """A process of its own that has three edits made."""
    picture = tmp_path / "raw.png"
    picture.write_bytes(request().image)
    spec = f"openai:m@{there.url}?size=96x64"
    return [sys.executable, "-c", PROCESS, tmp_path / "edits", spec, picture]


def test_two_processes_at_once_pay_once(server: Callable[..., ImageServer], tmp_path: Path) -> None:
    there = server(delay=0.1)
    picture = tmp_path / "raw.png"
    picture.write_bytes(request().image)
    arguments = [
        sys.executable,
        "-c",
        PROCESS,
        tmp_path / "edits",
        f"openai:m@{there.url}",
        picture,
    ]
    processes = [subprocess.Popen(arguments) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert there.count() == 3
    assert len(list((tmp_path / "edits").glob("*/result.json"))) == 3


def test_a_process_killed_between_edits_pays_only_for_what_is_missing(
    server: Callable[..., ImageServer], tmp_path: Path
) -> None:
    there = server(script=("ok", "ok", "hang"))
    picture = tmp_path / "raw.png"
    picture.write_bytes(request().image)
    arguments = [
        sys.executable,
        "-c",
        PROCESS,
        tmp_path / "edits",
        f"openai:m@{there.url}",
        picture,
    ]
    killed = subprocess.Popen(arguments)
    while there.count() < 3:
        assert killed.poll() is None
        threading.Event().wait(0.02)
    killed.kill()
    killed.wait()
    assert subprocess.run(arguments).returncode == 0
    assert there.count("ok") == 3  # two before, the third after; none again


def test_a_damaged_shelf_is_told_and_not_paid_over(tmp_path: Path) -> None:
    editor, shelf = Counting(), Shelf(tmp_path)
    folder = tmp_path / shelf.edit(editor, request()).request
    whole = {path: path.read_bytes() for path in folder.iterdir()}
    image, result = folder / "image.png", folder / "result.json"

    def damage(path: Path, data: bytes | None) -> None:
        for there, before in whole.items():
            there.write_bytes(before)
        path.unlink()
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(BadInput, match="kept edit is damaged") as caught:
            shelf.edit(editor, request())
        assert str(folder) in str(caught.value)

    damage(image, b"other")
    damage(image, None)
    damage(result, b"{")
    secret = tmp_path / "image.png"
    secret.write_bytes(b"not of this shelf")
    damage(result, whole[result].replace(b'"image.png"', b'"../image.png"').replace(
        json.loads(whole[result])["sha256"].encode(), b"0" * 64))  # fmt: skip
    assert editor.calls == 1


def test_a_shelf_that_cannot_be_written_is_told_before_anything_is_paid(tmp_path: Path) -> None:
    (tmp_path / "edits").write_text("a file")
    editor = Counting()
    with pytest.raises(BadInput, match="can be written"):
        Shelf(tmp_path / "edits").edit(editor, request())
    assert editor.calls == 0


def test_editors_can_be_sent_to_other_processes() -> None:
    for spec in ("scene", "openai:m@http://127.0.0.1:9/v1"):
        editor = load_editor(spec)
        assert request_key(pickle.loads(pickle.dumps(editor)), request()) == request_key(
            editor, request()
        )


# ---- a diffusion pipeline


def save_pipeline(folder: Path, kind: str, channels: int) -> str:
    """Saves a pipeline of random weights, smaller than a photograph."""
    import warnings

    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import diffusers
        from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

        torch.manual_seed(0)
        letters = [letter + end for end in ("", "</w>") for letter in "abcdefghijklmnopqrstuvwxyz"]
        words = ["<|startoftext|>", "<|endoftext|>", *letters]
        pipeline = getattr(diffusers, kind)(
            vae=diffusers.AutoencoderKL(
                block_out_channels=(8, 8),
                down_block_types=("DownEncoderBlock2D",) * 2,
                up_block_types=("UpDecoderBlock2D",) * 2,
                norm_num_groups=4,
            ),
            unet=diffusers.UNet2DConditionModel(
                sample_size=32,
                block_out_channels=(8, 16),
                norm_num_groups=4,
                layers_per_block=1,
                in_channels=channels,
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
                up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
                cross_attention_dim=16,
                attention_head_dim=4,
            ),
            text_encoder=CLIPTextModel(
                CLIPTextConfig(
                    vocab_size=len(words), hidden_size=16, intermediate_size=32,
                    num_hidden_layers=1, num_attention_heads=2, bos_token_id=0, eos_token_id=1,
                    pad_token_id=1,
                )
            ),
            tokenizer=CLIPTokenizer(
                vocab={word: place for place, word in enumerate(words)},
                merges=[],
                model_max_length=77,
            ),
            scheduler=diffusers.DDIMScheduler(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )  # fmt: skip
        pipeline.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def pipeline_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    pytest.importorskip("diffusers")
    return save_pipeline(
        tmp_path_factory.mktemp("pipeline"), "StableDiffusionInpaintPipeline", channels=9
    )


def test_a_pipeline_repaints_what_is_not_black_in_the_mask(
    pipeline_folder: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    editor = load_editor(f"diffusers:{pipeline_folder}?num_inference_steps=2&guidance_scale=3")
    ask = request(70, 50)
    result = Shelf(tmp_path).edit(editor, ask)
    assert decode(result.image, "it").size == (70, 50)
    assert result.native_size == (72, 52)  # padded, and cropped again
    assert (result.deterministic, result.exact_mask) == (True, False)
    assert editor.edit(ask).image == editor.edit(ask).image
    assert editor.edit(replace(ask, seed=1)).image != editor.edit(ask).image
    assert capfd.readouterr() == ("", "")  # no bars, no advice
    again = pickle.loads(pickle.dumps(editor))
    assert request_key(again, ask) == request_key(editor, ask) == result.request


def test_a_pipeline_is_given_white_where_it_may_paint(
    pipeline_folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffusers import StableDiffusionInpaintPipeline

    seen: dict[str, Any] = {}
    original = StableDiffusionInpaintPipeline.__call__

    def spy(self: Any, prompt: Any = None, image: Any = None, mask_image: Any = None,
            height: Any = None, width: Any = None, num_inference_steps: int = 1,
            generator: Any = None) -> Any:  # fmt: skip
        seen.update(prompt=prompt, mask=np.asarray(mask_image), size=(width, height))
        return original(
            self, prompt=prompt, image=image, mask_image=mask_image, height=height, width=width,
            num_inference_steps=num_inference_steps, generator=generator,
        )  # fmt: skip

    monkeypatch.setattr(StableDiffusionInpaintPipeline, "__call__", spy)
    ask = request(64, 64, params={"num_inference_steps": 1})
    load_editor(f"diffusers:{pipeline_folder}").edit(ask)
    assert ask.mask is not None
    assert (seen["mask"] == decode(ask.mask, "mask").pixels[..., 0]).all()
    assert (seen["prompt"], seen["size"]) == (ask.instruction, (64, 64))


def test_a_pipeline_without_a_mask_edits_too(tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    folder = save_pipeline(tmp_path, "StableDiffusionInstructPix2PixPipeline", channels=8)
    editor = load_editor(f"diffusers:{folder}?num_inference_steps=1&image_guidance_scale=1.5")
    result = cropped(editor.edit(request(70, 50)))
    assert decode(result.image, "it").size == (70, 50)
    with pytest.raises(BadInput, match="takes no strength; it takes: num_inference_steps"):
        editor.edit(request(params={"strength": 0.5}))


def test_a_large_picture_is_scaled_down_first(pipeline_folder: str) -> None:
    editor = load_editor(f"diffusers:{pipeline_folder}?num_inference_steps=1&longest=64")
    assert editor.edit(request(300, 120)).native_size == (64, 28)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?true_cfg_scale=2", "StableDiffusionInpaintPipeline takes no true_cfg_scale"),
        ("?device=abacus", "cannot be opened"),
    ],
)
def test_what_a_pipeline_does_not_take_is_one_line(
    pipeline_folder: str, query: str, said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        load_editor(f"diffusers:{pipeline_folder}{query}").edit(request())


def test_a_broken_pipeline_is_one_line(pipeline_folder: str, tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text('{"_class_name": "NoSuchPipeline"}')
    with pytest.raises(BadInput, match="cannot be opened"):
        load_editor(f"diffusers:{tmp_path}").edit(request())
    (tmp_path / "model_index.json").write_text("[]")
    with pytest.raises(BadInput, match="no pipeline is saved there"):
        load_editor(f"diffusers:{tmp_path}")


def test_without_the_extra_one_line_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(BadInput, match=r"pip install 'planish\[diffusers\]'"):
        load_editor(f"diffusers:{tmp_path}")


def test_naming_an_editor_imports_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from planish.methods.vfaith.editing import shelf;"
        "from planish.methods.vfaith.editing.contract import load_editor;"
        "load_editor('scene'); load_editor('openai:m@http://h/v1');"
        "print([name for name in ('torch', 'openai', 'diffusers') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.stdout.strip() == "[]", ran.stderr
