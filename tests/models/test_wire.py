from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.models.wire import (
    CallFailed,
    check_images,
    read_reply,
    read_retry_after,
    request_body,
    request_content,
    status_failure,
)
from planish.records import BadInput, Completion, Failure, Message, Sampling, user


def body(**choice):
    return json.dumps({"choices": [choice]}).encode()


def reply(**message):
    return read_reply(body(message=message, finish_reason="stop"))


def test_the_least_request():
    assert request_body("m", user("hi"), Sampling(max_tokens=5)) == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 5,
    }


def test_every_setting_reaches_the_request():
    sampling = Sampling(
        temperature=0, top_p=0.5, max_tokens=5, n=7, stop=("a",), seed=1, logprobs=True
    )
    sent = request_body("m", user("hi"), sampling, seed=3, limit_field="max_completion_tokens")
    del sent["messages"], sent["model"]
    assert sent == {
        "max_completion_tokens": 5,
        "temperature": 0,
        "top_p": 0.5,
        "stop": ["a"],
        "seed": 3,
        "logprobs": True,
    }


def test_a_begun_reply_is_continued():
    chat = (*user("hi"), Message(role="assistant", content="[["))
    sent = request_body("m", chat, Sampling())
    assert (sent["continue_final_message"], sent["add_generation_prompt"]) == (True, False)


def test_images_become_parts(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"\xff\xd8")
    message = Message(role="user", content="What?", images=(str(path), "data:image/png;base64,eA"))
    parts = request_body("m", (message,), Sampling())["messages"][0]["content"]
    data = base64.b64encode(b"\xff\xd8").decode()
    assert parts == [
        {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,eA"}},
        {"type": "text", "text": "What?"},
    ]
    check_images([(message,)])
    path.unlink()
    with pytest.raises(BadInput, match=r"a\.jpg: the image cannot be read"):
        check_images([user("?"), (message,)])


TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    ['a"b', "\\", "\n"]
)


@given(
    texts=st.lists(TEXTS, min_size=1, max_size=3),
    urls=st.lists(TEXTS.map("data:,".__add__), max_size=2),
    bytes_=st.binary(max_size=9),
    stop=st.lists(TEXTS, max_size=2),
)
def test_a_body_is_sent_as_the_json_that_it_is(tmp_path_factory, texts, urls, bytes_, stop):
    path = tmp_path_factory.mktemp("sent") / "a.png"
    path.write_bytes(bytes_)
    chat = (
        *(Message(role="user", content=text) for text in texts),
        Message(role="user", content=texts[0], images=(str(path), *urls)),
    )
    sent = request_body(texts[-1], chat, Sampling(stop=tuple(stop)), seed=1)
    expected = json.dumps(sent, ensure_ascii=False, separators=(",", ":")).encode()
    assert request_content(sent) == expected


def test_half_surrogates_can_be_sent_and_received():
    sent = request_body("m", user("a\ud83d"), Sampling())
    assert json.dumps(sent, ensure_ascii=False).encode()
    assert read_reply(b'{"choices": [{"message": {"content": "a\\ud83d"}}]}').text == "a\ufffd"
    assert read_reply(b'{"choices": [{"message": {"content": "\\ud83d\\ude00"}}]}').text == "😀"


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": ""}, ""),
        ({"content": "x", "refusal": "no"}, "x"),
        ({"content": None, "refusal": "no"}, "no"),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "ab"),
        ({"content": None, "reasoning_content": "hm"}, ""),
    ],
)
def test_where_the_text_is(message, text):
    assert reply(**message).text == text


def test_the_rest_of_a_reply():
    value = {
        "choices": [
            {
                "message": {"content": "a b"},
                "finish_reason": "length",
                "logprobs": {"content": [{"logprob": -1}, {"logprob": -0.5}]},
            }
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2},
    }
    found = read_reply(json.dumps(value).encode())
    assert (found.finish, found.logprobs) == ("length", (-1.0, -0.5))
    assert (found.usage.prompt_tokens, found.usage.completion_tokens) == (3, 2)


def test_no_content_for_a_reason_is_a_reply():
    for reason, finish in (("length", "length"), ("content_filter", "stop")):
        found = read_reply(body(message={"content": None}, finish_reason=reason))
        assert (found.text, found.finish) == ("", finish)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "broken JSON"),
        (b'{"choices": [{"mess', "broken JSON"),
        (b'{"choices": [{"message": {"content": "na\xefve"}}]}', "not UTF-8"),
        (b" <html>", "a web page, not JSON"),
        (b"[]", "not a chat completion"),
        (b"null", "not a chat completion"),
        (b"{}", "no choices"),
        (b'{"choices": []}', "no choices"),
        (b'{"choices": null, "error": {"message": "upstream"}}', "error in the body"),
        (b'{"choices": [{}]}', "no message"),
        (b'{"choices": [{"message": {"content": null}, "finish_reason": "stop"}]}', "no content"),
        (b'{"choices": [{"message": {"content": 7}}]}', "no content"),
        (b"[" * 100_000, "broken JSON"),
        (b"9" * 10_000, "broken JSON"),
    ],
)
def test_what_is_no_reply_says_why_and_is_tried_again(content, kind):
    with pytest.raises(CallFailed) as caught:
        read_reply(content)
    assert (caught.value.kind, caught.value.then) == (kind, "retry")
    assert len(caught.value.message) <= 300


FIELDS = (
    "choices message content usage logprobs logprob error code finish_reason refusal text "
    "prompt_tokens completion_tokens"
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(FIELDS.split()), inner, max_size=4)
    ),
    max_leaves=20,
)
choices = st.fixed_dictionaries(
    {"choices": st.lists(st.fixed_dictionaries({"message": json_values}), max_size=2)}
)


@given(st.binary() | (json_values | choices).map(lambda value: json.dumps(value).encode()))
def test_any_body_is_a_reply_or_a_failure(content):
    try:
        found: Completion | Failure = read_reply(content)
    except CallFailed as failed:
        found = failed.as_failure(1)
    assert found.model_dump_json()


@given(st.integers(400, 599), st.text() | json_values.map(json.dumps), st.text())
def test_any_error_answer_is_a_failure(status, content, retry_after):
    failed = status_failure(status, {"retry-after": retry_after}, content)
    assert failed.kind == f"http {status}"
    if status >= 500:
        assert failed.then in ("retry", "stop")
    failed.as_failure(1).model_dump_json()


@pytest.mark.parametrize(
    ("status", "then"),
    [
        *((status, "stop") for status in (401, 402, 403, 404)),
        *((status, "give up") for status in (400, 405, 413, 422)),
        *((status, "retry") for status in (408, 409, 429, 500, 502, 503, 529)),
    ],
)
def test_what_follows_from_a_status(status, then):
    assert status_failure(status, {}, "").then == then


def test_the_message_of_an_error():
    for content in ('{"error": {"message": "too long"}}', '{"error": "too long"}', "too long"):
        assert status_failure(400, {}, content).message == "too long"
    assert status_failure(400, {}, '{"message": "too long"}').message == "too long"
    quota = '{"error": {"message": "?", "code": "insufficient_quota"}}'
    assert status_failure(429, {}, quota).then == "stop"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        (
            {
                "retry-after": "Wed, 21 Oct 2015 07:28:05 GMT",
                "date": "Wed, 21 Oct 2015 07:28:00 GMT",
            },
            5.0,
        ),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:05 GMT"}, 0.0),
        ({"retry-after": "Wed, 99 Oct 2015 07:28:05 GMT"}, None),
    ],
)
def test_retry_after(headers, seconds):
    assert read_retry_after(headers) == seconds


@given(st.text(), st.text())
def test_any_retry_after_is_none_or_a_wait(retry_after, date):
    found = read_retry_after({"retry-after": retry_after, "date": date})
    assert found is None or 0 <= found < float("inf")
