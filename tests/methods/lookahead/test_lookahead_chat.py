import io
import os
import re
import sys

import pytest

from planish.cli import main
from planish.methods.lookahead.running.chat import Conversation
from planish.models.load import load
from planish.records import Message, Sampling, user
from support.checkpoints import make_tokenizer, save_checkpoint
from support.indexers import save_indexer

TIGHT = ("--chunks", "6", "--recent", "8", "--sinks", "4", "--interval", "4")
LONG = "the lazy dog said to the moon: two and two are four, " * 3
QUESTIONS = ("which reply is better, A or B?", "no: why?", "and the fox?")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A checkpoint, its indexer and a document."""
    root = tmp_path_factory.mktemp("chat")
    folder = save_checkpoint(root / "model", "qwen3", max_positions=1024)
    document = root / "long.txt"
    document.write_text(LONG)
    return f"hf:{folder}", save_indexer(root / "indexer", folder), document


def talk(capsys, monkeypatch, said, *words):
    """Exit code, stdout, stderr of a conversation whose user says these lines."""
    if said is not None:
        monkeypatch.setattr(sys, "stdin", io.StringIO(said))
    with pytest.raises(SystemExit) as stop:
        main(["lookahead", "chat", *map(str, words)])
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def read(err):
    return [int(found) for found in re.findall(r"\[(\d+) tokens read", err)]


def dense(model, questions, max_tokens, document=""):
    """What a model answers that reads everything anew in each turn."""
    opened, chat, replies = load(model), (), []
    for question in questions:
        text = f"{document}\n\n{question}" if document and not chat else question
        chat = (*chat, Message(role="user", content=text))
        drawn = opened.generate([chat], Sampling(temperature=0, max_tokens=max_tokens))
        replies.append(drawn[0][0].text)
        chat = (*chat, Message(role="assistant", content=replies[-1]))
    return replies


def test_a_conversation_goes_on_from_its_memory_and_says_what_reading_all_anew_says(
    made,
):
    model, indexer, _ = made
    with Conversation.over(load(f"{model}?lookahead={indexer}"), LONG) as conversation:
        conversation.max_tokens = 8
        replies, tokens = [], []
        for question in QUESTIONS:
            replies.append(conversation.ask(question))
            tokens.append(conversation.read)
    assert replies == dense(model, QUESTIONS, 8, LONG)
    assert max(tokens[1:]) < tokens[0] // 2


def test_piped_questions_are_answered_and_the_memory_is_told_after_each(capsys, monkeypatch, made):
    model, indexer, document = made
    said = "\n".join(QUESTIONS[:2]) + "\n\n/quit\nnobody hears this\n"
    words = ("--model", model, "--indexer", indexer, "--document", document, *TIGHT)
    code, out, err = talk(capsys, monkeypatch, said, *words, "--max-tokens", "12")
    assert code == 0, err
    assert len(read(err)) == 2
    assert len(out.splitlines()) >= 2
    shares = [int(found) for found in re.findall(r"(\d+)% of", err)]
    assert len(shares) == 2
    assert all(0 < share < 60 for share in shares)
    assert "host" in err


def test_a_tight_memory_is_read_whole_by_each_question(made):
    model, indexer, _ = made
    spec = f"{model}?lookahead={indexer}&chunks=3&recent=4&interval=2"
    with Conversation.over(load(spec), LONG) as conversation:
        conversation.max_tokens = 8
        first = conversation.ask(QUESTIONS[0])
        evicted = not bool(conversation.cache.resident_BC.all())
        second = conversation.ask(QUESTIONS[1])
        length = conversation.cache.length
        windows = conversation.session.windows
    assert evicted
    assert first
    assert second
    # The question's own tokens and the first one of its reply saw everything.
    assert length > windows[-1].num_chunks * 4 - 4
    assert all(window.kept <= 3 for window in windows)


def test_what_is_evicted_waits_in_the_file_that_the_model_names(made, tmp_path):
    model, indexer, _ = made
    tight = "chunks=6&recent=8&sinks=4&interval=4"
    file = tmp_path / "kv.bin"
    name = f"{model}?lookahead={indexer}&{tight}&host_file={file}"
    with Conversation.over(load(name), LONG) as conversation:
        conversation.max_tokens = 16
        conversation.ask(QUESTIONS[0])
        assert not file.exists()  # its name is gone, the file is not
        store = conversation.cache.store
        assert os.fstat(store._file).st_size > 0
        assert conversation.cache.bytes_per_row()[0].host > 0
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(store._file)


def test_a_turn_for_which_the_host_has_no_room_is_told_and_the_conversation_goes_on(
    capsys, monkeypatch, made
):
    model, indexer, document = made
    name = f"{model}?lookahead={indexer}&host_gigabytes=1e-6"
    words = ("--model", name, "--document", document, "--max-tokens", 16, *TIGHT)
    code, _, err = talk(capsys, monkeypatch, "why?\n/quit\n", *words)
    assert code == 0
    assert "exceed the cap of 1,000 bytes" in err


def test_the_end_of_a_real_pipe_leaves(capsys, monkeypatch, made):
    model, indexer, _ = made
    ours, theirs = os.pipe()
    os.write(theirs, b"A or B?\nthe last line is not closed")
    os.close(theirs)
    words = ("--model", model, "--indexer", indexer, "--max-tokens", "4", *TIGHT)
    with os.fdopen(ours) as pipe:
        monkeypatch.setattr(sys, "stdin", pipe)
        code, out, err = talk(capsys, monkeypatch, None, *words)
    assert code == 0, err
    assert len(read(err)) == 2
    assert out.endswith("\n")


def test_ctrl_c_leaves_without_a_word_of_failure(capsys, monkeypatch, made):
    model, indexer, _ = made

    def stop(prompt=""):
        raise KeyboardInterrupt

    monkeypatch.setattr("builtins.input", stop)
    code, out, err = talk(capsys, monkeypatch, None, "--model", model, "--indexer", indexer)
    assert (code, out) == (0, "")
    assert "Traceback" not in err


def test_ctrl_c_in_the_middle_of_a_reply_leaves_no_hook(made):
    model, indexer, _ = made
    opened = load(f"{model}?lookahead={indexer}&recent=8")

    def hooks():
        modules = opened.model.modules()
        return sum(len(each._forward_hooks) + len(each._forward_pre_hooks) for each in modules)

    def stop(record):
        raise KeyboardInterrupt

    def ask():
        with Conversation.over(opened, LONG) as conversation:
            assert hooks() > 0
            conversation.session.on_window = stop
            conversation.ask("A or B?")

    with pytest.raises(KeyboardInterrupt):
        ask()
    assert hooks() == 0
    assert "_prepare_cache_for_generation" not in vars(opened.model)


def test_a_turn_that_does_not_fit_is_told_and_the_conversation_goes_on(capsys, monkeypatch, made):
    model, indexer, _ = made
    said = f"{LONG * 20}\nA or B?\n"
    words = ("--model", model, "--indexer", indexer, "--max-tokens", "4")
    code, out, err = talk(capsys, monkeypatch, said, *words)
    assert code == 0
    assert "more exceed the model's context of 1024" in err
    assert len(read(err)) == 1
    assert out.rstrip("\n") == dense(model, ["A or B?"], 4)[0].rstrip("\n")


def test_a_model_without_turns_answers_each_question_on_the_document(tmp_path):
    folder = save_checkpoint(
        tmp_path / "base", "llama", max_positions=1024, tokenizer=make_tokenizer(None)
    )
    indexer = save_indexer(tmp_path / "indexer", folder)
    with Conversation.over(load(f"hf:{folder}?lookahead={indexer}"), LONG) as conversation:
        conversation.max_tokens = 6
        replies, tokens = [], []
        for question in QUESTIONS:
            replies.append(conversation.ask(question))
            tokens.append(conversation.read)
    prompts = [user(f"{LONG}\n\n{question}") for question in QUESTIONS]
    drawn = load(f"hf:{folder}").generate(prompts, Sampling(temperature=0, max_tokens=6))
    assert replies == [each[0].text for each in drawn]
    assert max(tokens[1:]) < tokens[0] // 2  # the document is not read again


def test_a_sliding_window_that_has_forgotten_is_read_again(tmp_path):
    """Replies of the tiny model are cut, so that its template closes turns that are still open."""
    folder = save_checkpoint(tmp_path / "gemma", "gemma3", max_positions=1024)
    indexer = save_indexer(tmp_path / "indexer", folder)
    with Conversation.over(load(f"hf:{folder}?lookahead={indexer}"), LONG) as conversation:
        conversation.max_tokens = 6
        replies = [conversation.ask(question) for question in QUESTIONS]
    assert replies == dense(f"hf:{folder}", QUESTIONS, 6, LONG)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--json", "--model", "hf:x"), "planish lookahead generate --json"),
        ((), "--model: is missing"),
        (("--model", "hf:x", "--indexer", "y", "--document", "nowhere.txt"), "nowhere.txt"),
        (("--model", "replay:x", "--indexer", "y"), "only a model on this machine"),
    ],
)
def test_bad_input_is_refused_in_one_line(capsys, monkeypatch, words, said):
    code, out, err = talk(capsys, monkeypatch, "", *words)
    assert (code, out) == (2, "")
    assert said in err.strip().splitlines()[-1]


def test_what_a_model_says_cannot_act_on_the_terminal(capsys, monkeypatch, made):
    import transformers

    class Hostile(transformers.TextStreamer):
        def end(self):
            self.on_finalized_text("a\x1b[2Jb", stream_end=True)

    monkeypatch.setattr(transformers, "TextStreamer", Hostile)
    model, indexer, document = made
    words = ("--model", model, "--indexer", indexer, "--document", document, *TIGHT)
    code, out, err = talk(capsys, monkeypatch, QUESTIONS[0], *words, "--max-tokens", "4")
    assert code == 0, err
    assert out.endswith("a⟨U+001B⟩[2Jb\n")
