from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from planish.models import LanguageModel, load
from planish.models.address import OPENAI_URL
from planish.models.endpoint import EndpointModel
from planish.records import BadInput, Sampling, user


def test_openai_spec_with_a_url_and_options(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    model = load("openai:m@http://h:8000/v1/?in_flight=64&timeout=60&retries=2")
    assert isinstance(model, EndpointModel)
    assert (model.model, model.base_url) == ("m", "http://h:8000/v1")
    assert (model.in_flight, model.timeout, model.retries) == (64, 60.0, 2)
    assert model.name == "openai:m@http://h:8000/v1/"
    assert model.revision == "http://h:8000/v1#m"
    assert isinstance(model, LanguageModel)


def test_options_do_not_change_the_name_that_the_cache_goes_by(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    slow, fast = load("openai:m@http://h/v1?in_flight=1"), load("openai:m@http://h/v1", in_flight=9)
    assert (slow.name, slow.revision) == (fast.name, fast.revision)


def test_openai_without_a_url_is_the_openai_api(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    model = load("openai:gpt-5")
    assert isinstance(model, EndpointModel)
    assert model.base_url == OPENAI_URL


def test_a_model_name_may_hold_an_at_sign():
    model = load("openai:claude@20250101@https://h/v1")
    assert isinstance(model, EndpointModel)
    assert (model.model, model.base_url) == ("claude@20250101", "https://h/v1")


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("gpt-5", "write one of hf:..., openai:..."),
        ("", "does not name a model"),
        ("hf:", "does not name a model"),
        ("ollama:llama", "write one of"),
        ("openai:@http://h/v1", "MODEL@URL"),
        ("openai:m@localhost:8000/v1", "MODEL@URL"),
        ("openai:m@http://", "not the address of a server"),
        ("openai:m@http://h:port/v1", "not the address of a server"),
        ("openai:m@http://h/v1?inflight=3", "known: in_flight, timeout, retries"),
        ("openai:m@http://h/v1?in_flight=many", "in_flight"),
        ("openai:m@http://h/v1?in_flight=0", "in_flight"),
        ("openai:m@http://h/v1?retries=-1", "retries"),
        ("openai:m@http://h/v1?timeout=nan", "timeout"),
        ("openai:m@http://h/v1?retries", "option=value"),
        ("openai:m@http://h/v1?retries=1&retries=2", "given twice"),
        ("openai:m@http://h/v1?api_key=secret", "OPENAI_API_KEY"),
        ("hf:dir?precision=bfloat16", "known: dtype, batch_size, device"),
        ("hf:dir?batch_size=0", "batch_size"),
        ("embedded:nobody", "no model called 'nobody'"),
        ("embedded:../models", "no model called"),
        ("scripted:always-c", "known: always-a, always-b"),
        ("scripted:always-a?p=1", "no options"),
        ("scripted:noisy", "pairs=FILE"),
        ("scripted:noisy?p=1.5&pairs=x", "p"),
        ("replay:no-such-file.jsonl", "no-such-file.jsonl"),
        ("replay:f.jsonl?p=1", "no options"),
    ],
)
def test_what_cannot_be_loaded_is_told_in_one_line(spec, complaint):
    with pytest.raises(BadInput) as caught:
        load(spec)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_a_key_the_openai_api_is_refused(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(BadInput, match="OPENAI_API_KEY"):
        load("openai:gpt-5")


def test_an_option_comes_from_one_side_only():
    with pytest.raises(BadInput, match="retries is given twice"):
        load("openai:m@http://h/v1?retries=1", retries=2)


def test_a_value_may_be_percent_encoded(tmp_path):
    path = tmp_path / "a & b.jsonl"
    path.write_text(json.dumps({"chosen": "yes", "rejected": "no"}))
    encoded = str(path).replace(" ", "%20").replace("&", "%26")
    assert load(f"scripted:noisy?pairs={encoded}").name.startswith("scripted:noisy?")


def test_the_revision_of_a_script_follows_its_options_and_golds(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps({"chosen": "yes", "rejected": "no"}))
    spec = f"scripted:noisy?pairs={path}"
    first = load(spec).revision
    assert load(spec).revision == first
    assert load(f"{spec}&p=0.5").revision != first
    path.write_text(json.dumps({"chosen": "no", "rejected": "yes"}))
    assert load(spec).revision != first


def test_cache_wraps_the_model(tmp_path):
    with load("scripted:always-a", cache=tmp_path / "new" / "cache.jsonl") as model:
        for _ in range(2):
            assert "[[A]]" in model.generate([user("?")], Sampling())[0][0].text
        assert (model.hits, model.misses) == (1, 1)
        assert model.name == "scripted:always-a"


def test_loading_is_light():
    code = (
        "import sys, planish.models.load, planish.models.replay\n"
        "heavy = {'torch', 'transformers', 'openai', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent)
