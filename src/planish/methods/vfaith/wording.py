r"""Words as models write them: boxes, LaTeX, Markdown and thinking; and the options they may name.

words, contents = boxes(answer_part("<think>..</think>So $\\boxed{\\text{B}}$"))
menu = Menu(("red", "yellow"))
menu.settle("B) yellow")            1
menu.mentioned("A is red")          {0}
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from planish.methods.vfaith.data import LETTERS

__all__ = ["Menu", "Value", "answer_part", "boxes", "plain", "same"]

Value = int | Literal["conflict", "off-menu"]
"""An option by its place, or why there is none."""

# ---- what a reply looks like -----------------------------------------------------------------

_WIDE = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_TYPOGRAPHY = str.maketrans(
    {
        **{chr(code): chr(to) for code, to in _WIDE.items() if chr(code) not in "：，？！；"},
        "\u00a0": " ", "\u3000": " ", "\u2212": "-", "‘": "'", "’": "'", "“": '"', "”": '"',
        "\u200b": "", "\u200c": "", "\u200d": "", "\ufeff": "", "\u2060": "",
        "\ue000": "", "\ue001": "", "\r": "\n", "\x0b": " ", "\x0c": " ", "\u2028": "\n",
    }
)  # fmt: skip
_THINK = re.compile(r"<(/?)(?:think|thinking|thought|reasoning)>", re.I)
_BOX = re.compile(r"(?:\\+(?:f?boxed|fbox)|\x08oxed|(?<![A-Za-z])boxed)\s*\{|\\*[{}]")
_WRAPPED = re.compile(
    r"\\+(?:text|textbf|textit|textrm|textsf|texttt|mathrm|mathbf|mathit|mathsf|operatorname|mbox"
    r"|bf|rm|f?boxed|fbox|boldsymbol|emph|underline)\s*\{([^{}]*)\}"
)
_LATEX = (
    (re.compile(r"\\+[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}"), r"\1/\2"),
    (re.compile(r"\\+[dt]?frac\s*(\d)\s*(\d)"), r"\1/\2"),
    (re.compile(r"\^\s*(?:\{\s*\\+circ\s*\}|\\+circ\b)|\\+degrees?\b"), "°"),
    (re.compile(r"\\+times\b"), "×"),
    (re.compile(r"\\+pi\b"), "π"),
    (re.compile(r"\\+(?:left|right|displaystyle|bf|rm|quad|qquad)\b"), " "),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\+[,;:!()\[\] ]|\\*\$"), " "),
    (re.compile(r"\\+([%#&_])"), r"\1"),
    (re.compile(r"\{([^{}]*)\}"), r"\1"),
)
_TAGS = re.compile(r"</?(answer|br|p|div)\s*/?>", re.I)
_HTML = re.compile(r"</?[a-zA-Z][a-zA-Z0-9]{0,10}\s*/?>|<\|[^|<>]{0,30}\|>")
_MARKDOWN = re.compile(r"\*+|__+|`+|^[ \t]*(?:#{1,6}[ \t]|>[ \t]?|[-•+][ \t]+)", re.M)


def answer_part(text: str) -> str:
    """The reply without its thinking; all of it where nothing follows the thinking.

    Thinking that never ends hides what stands behind its tag: the budget ran out before an answer.
    """
    tags = list(_THINK.finditer(text))
    while tags and not tags[-1][1]:
        end = tags.pop().start()
        if not tags or tags[-1][1]:
            text = text[:end]
    if not tags:
        return text
    after = text[tags[-1].end() :]
    return after if after.strip() else _THINK.sub("\n", text)


def boxes(text: str) -> tuple[str, list[str]]:
    r"""The text with each outermost balanced box as a mark, and what stands in the boxes.

    A mark is the number of the box between U+E000 and U+E001, which no text keeps.
    """
    text = text.translate(_TYPOGRAPHY)
    opened: list[re.Match[str] | None] = []
    spans: list[tuple[int, int, int]] = []
    for brace in _BOX.finditer(text):
        if brace[0].endswith("}"):
            if opened and len(brace[0]) % 2:
                opening = opened.pop()
                if opening is not None:
                    while spans and spans[-1][0] > opening.start():
                        spans.pop()  # a box inside this one
                    spans.append((opening.start(), opening.end(), brace.end()))
        elif "box" in brace[0] or "oxed" in brace[0]:
            opened.append(brace)
        elif len(brace[0]) % 2:
            opened.append(None)
    pieces, contents, at = [], [], 0
    for number, (start, inside, end) in enumerate(spans):
        pieces += [text[at:start], f"\ue000{number}\ue001"]
        contents.append(text[inside : end - 1])
        at = end
    return "".join([*pieces, text[at:]]), contents


def plain(text: str) -> str:
    """Words without LaTeX, Markdown and HTML; lines stay lines."""
    text = text.translate(_TYPOGRAPHY) if "\ue000" not in text else text
    if any(mark in text for mark in "\\{$"):  # most words are none of it
        for _ in range(8):
            bare = _WRAPPED.sub(r"\1", text)
            if bare == text:
                break
            text = bare
        for pattern, into in _LATEX:
            text = pattern.sub(into, text)
    if "<" in text:
        text = _HTML.sub(" ", _TAGS.sub("\n", text))
    return re.sub(r"[ \t]+", " ", _MARKDOWN.sub("", text)).strip()


_ENDS = " \t\n.,;!。，；！：:\"'「」《》"
_ARTICLE = re.compile(r"(?:a|an|the)\s+(?=\S)", re.I)


def same(text: str) -> str:
    """What two spellings of one option have in common."""
    words = " ".join(plain(text).split()).casefold()
    bare = words.strip(_ENDS)
    if bare[:1] == "(" and bare[-1:] == ")" and "(" not in bare[1:]:
        bare = bare[1:-1].strip(_ENDS)
    return _ARTICLE.sub("", bare, count=1) if _ARTICLE.match(bare) else bare or words


# ---- the options -----------------------------------------------------------------------------

_LABELLED = re.compile(
    r"(?:the\s+)?(?:(?:correct|final|right|best|my)\s+)?(?:option|choice|answer|letter|选项|答案)?"
    r"\s*(?:is\b|[:：]|是|为)?\s*[(\[]?\s*([A-Ha-h])\s*[)\]]?\s*[.:,。：、，]?",
    re.I,
)
_ALONE = re.compile(
    r"(?:(?:option|choice|answer|选项|答案)\s*:?\s*)?[(\[]?([A-H])[)\]]?[.:,。!]?", re.I
)
_WITH_TEXT = re.compile(
    r"(?:(?:option|choice|answer)\s*:?\s*)?(?:[(\[]([A-Ha-h])[)\]]\s*[.:：-]?|([A-H])\s*"
    r"(?:[.:)：、]|\s[-–—]\s|,\s|\s(?=\()))\s*(.+)",
    re.S,
)
_LETTER_AT = re.compile(r"(?:[(\[]([A-Ha-h])[)\]]|([A-Z])(?!\w|'\w)|([b-h])(?=\s*(?:[.)\n]|$)))")
_AND_LETTER = re.compile(
    r"\s*(?:,\s*)?(?:/|&|\+|,(?!\s*[(\[]?[A-H][)\]]?\s+\w)|\bor\b|\band\b|或者?|和|以及|、)\s*"
    r"(?:(?:maybe|perhaps|possibly|option|even|also)\s+)*[(\[]?([A-H])(?!\w|'\w)(?!\s+(?:is|was|are)\b)"
)
_AND_TEXT = re.compile(r"\s*(?:/|&|,?\s*\bor\b|,?\s*\band\b|或者?|和)\s*(?:the\s+|an?\s+)?")
_ARTICLE_A = re.compile(
    r"\s+(?!because|since|as\b|is\b|and\b|or\b|but\b|in\b|for\b|based|with\b|which|due|not\b|so\b)"
    r"[a-z]"
)
_FILLER = re.compile(
    r"(?:[\s\"'*:：\-–—>]|(?:clearly|definitely|probably|likely|most|therefore|thus|indeed|simply"
    r"|obviously|actually|then|now|just|still|option|choice|letter|number|the|an?(?=\s+[a-z]))"
    r"(?![A-Za-z])|选项)+"
)
_EITHER = re.compile(r"(?:either|both|between)\b", re.I)
_NOT = re.compile(r"(?:not|never|neither|none|nor|unclear|n't)\b|不|无", re.I)
_AFTER = re.compile(
    r"\s*(?:$|[\n;!)\]}\"'。，；！、）」]|[.,:](?!\d)|[-–—](?=\s)|\(|或|和"
    r"|(?:because|since|as|for|in|on|at|which|that|based|given|according|due|so|option|and|or|not"
    r"|rather|instead|with|from|by)\b)"
)
_UNIT = re.compile(r"\s+([^\W\d_]+)(?=\s*(?:[.,;:!)\n]|$))")
_NO_UNIT = frozenset(
    {
        "of", "out", "over", "and", "or", "to", "past", "plus", "minus", "times", "divided", "more",
        "less", "fewer", "half", "hundred", "thousand", "million", "billion", "dozen", "percent",
        "point", "squared", "cubed", "th", "st", "nd", "rd", "quarter", "quarters", "halves",
    }
)  # fmt: skip
_PART_OF = re.compile(
    r"\s*(?:/|:|out of|of)\s*(?:the\s+)?\d|\s*[-+*×÷=^<>]\s*\d|\s*(?:of|out of)\b"
)
# An option's edges: no word goes on there; Chinese is written without blanks between words.
_BEFORE, _BEHIND = r"(?<![^\W\u4e00-\u9fff])", r"(?![^\W\u4e00-\u9fff])"
_LETTER_IN = {
    letter: re.compile(
        rf"{_BEFORE}{letter}{_BEHIND}(?!'\w)"
        + (rf"(?!{_ARTICLE_A.pattern})" if letter == "A" else "")
    )
    for letter in LETTERS
}
_AS_ANSWER = r"(?=\s*(?:[.,;:!?)\n]|$|or\b|and\b))"
_NUMBER = re.compile(r"-?\d[\d.,:/]*")
_YES_NO = re.compile(r"(yes|no)(?:[,;!:]|[.](?!\s*\d)|\s*[-–—]\s|\n|$)\s*", re.I)
_REFUSED = re.compile(
    r"\b(?:can ?not|can't|unable|unsure|not sure|don't know|unclear|sorry)\b", re.I
)
_NOT_HERE = re.compile(
    r"\b(?:but|although|though|however)\b[^.!?\n]*(?:\bnot\b|n't\b)|\bnot (?:here|in th)", re.I
)


class Menu:
    """The options of one question, by letter and by text.

    Two options that read alike once they are bare words can be named by their letters only.
    """

    def __init__(self, options: Sequence[str]) -> None:
        self.options = tuple(options)
        self.letters = LETTERS[: len(self.options)]
        texts = [same(option) for option in self.options]
        self._places = {
            text: place for place, text in enumerate(texts) if text and texts.count(text) == 1
        }
        self._longest = sorted(self._places, key=len, reverse=True)
        self._numeric = bool(texts) and all(_NUMBER.fullmatch(text) for text in texts)

    def letter(self, letter: str) -> Value:
        """The option with a letter."""
        place = self.letters.find(letter.upper())
        return place if place >= 0 else "off-menu"

    def text(self, words: str) -> int | None:
        """The option that these words are, and nothing else."""
        return self._places.get(same(words))

    def lone(self, line: str) -> Value | None:
        """The option of a line that is a letter, with or without the option's own text."""
        words = line.strip()
        found = _ALONE.fullmatch(words)
        if found is not None:
            lower = found[1].islower() and len(words) == 1 and words == "a"
            return None if lower else self.letter(found[1])
        found = _WITH_TEXT.fullmatch(words)
        if found is None or self.text(words) is not None:
            return None
        value, named = self.letter(found[1] or found[2]), self.text(found[3])
        if named is None:
            return None
        return value if value == named else "conflict"

    def settle(self, words: str) -> Value:
        """What the content of a box stands for."""
        words = " ".join(words.split())
        found = _LABELLED.fullmatch(words)
        if found is not None and found[1].upper() in self.letters:
            return self.letter(found[1])
        named = self.text(words)
        if named is not None:
            return named
        found = _WITH_TEXT.fullmatch(words)
        if found is not None and (value := self.letter(found[1] or found[2])) != "off-menu":
            rest = found[3]
            others = self.mentioned(rest) - {value}
            named = self.text(rest)
            return "conflict" if others and named != value else value
        several = {self.settle(part) for part in _parts(words)} - {"off-menu"}
        return "conflict" if len(several) > 1 else "off-menu"

    def mentioned(self, words: str) -> set[int]:
        """Options whose letter or text stands among the words."""
        found = {
            place
            for place, letter in enumerate(self.letters)
            if re.search(_LETTER_IN[letter], words)
        }
        folded = words.casefold()
        for text in self._longest:  # so that "light blue" is no mention of "blue"
            if text in folded:
                end = _AS_ANSWER if text in ("yes", "no") else rf"{_BEHIND}(?![.:/]\d)"
                folded, times = re.subn(rf"{_BEFORE}{re.escape(text)}{end}", "\n", folded)
                if times:
                    found.add(self._places[text])
        return found

    def text_at(self, words: str, at: int) -> tuple[int | None, int]:
        """The option whose text stands at a place, whole; and where it ends."""
        folded = words[at : at + 400].casefold()
        skipped = 0
        if (article := _ARTICLE.match(folded)) is not None:
            skipped = article.end()
        for text in self._longest:
            start = skipped if folded.startswith(text, skipped) else 0
            if folded.startswith(text, start) and self._whole(text, folded[start + len(text) :]):
                return self._places[text], at + start + len(text)
        return None, at

    def _whole(self, text: str, rest: str) -> bool:
        if text[-1:].isdigit() or _NUMBER.fullmatch(text):
            unit = _UNIT.match(rest)
            if unit is not None and unit[1] not in _NO_UNIT:
                return True
            if _PART_OF.match(rest):
                return False
        return _AFTER.match(rest) is not None

    def value_at(self, words: str, at: int) -> tuple[Value | None, int]:
        """What a statement says whose value begins at a place; None: it says nothing.

        Returns:
            The value, and where it ends.
        """
        if (filler := _FILLER.match(words, at)) is not None and not self._begins(words, at):
            at = filler.end()
        rest = words[at : at + 300]
        if _NOT.match(rest) and self.text_at(words, at)[0] is None:
            return None, at
        if (either := _EITHER.match(rest)) is not None:
            several = len(self.mentioned(rest[either.end() :].split("\n")[0])) > 1
            return ("conflict" if several else None), at
        named, end = self.text_at(words, at)
        letter = _LETTER_AT.match(words, at)
        if named is not None and (letter is None or len(self.options[named]) > 1):
            return self._alone(words, end, named), end
        if letter is None:
            number = _NUMBER.match(rest) if self._numeric else None
            whole = number is not None and self._whole(number[0], rest[number.end() :])
            return ("off-menu" if whole else None), at
        return self._letter_at(words, letter)

    def _begins(self, words: str, at: int) -> bool:
        """Whether an option's text begins right here, with a word that is else filler."""
        return self.text_at(words, at)[0] is not None

    def _letter_at(self, words: str, found: re.Match[str]) -> tuple[Value | None, int]:
        end = found.end()
        letter = found[1] or found[2] or found[3]
        if found[2] == "I" or (found[2] == "A" and _ARTICLE_A.match(words, end)):
            named, end = self.text_at(words, end + 1)
            return named, end
        value = self.letter(letter)
        after = re.compile(r"[)\].:、]?\s*[(:：,-]?\s*").match(words, end)
        named, stop = self.text_at(words, after.end() if after else end)
        if named is not None and named != value:
            return "conflict", stop
        if named is not None:
            end = stop
        listed = re.compile(r"\s*\n\W*([A-H])[.):]\s").match(words, end)
        if listed is not None and listed[1] != letter:
            return None, end  # the options, told one by one
        return self._alone(words, end, value), end

    def _alone(self, words: str, end: int, value: Value) -> Value:
        """The value, unless another one is named beside it."""
        beside = _AND_LETTER.match(words, end)
        if beside is not None and self.letter(beside[1]) != value:
            return "conflict"
        joined = _AND_TEXT.match(words, end)
        if joined is not None:
            other, _ = self.text_at(words, joined.end())
            if other is not None and other != value:
                return "conflict"
        return value

    def yes_or_no(self, words: str) -> int | None:
        """The first word of a reply to a yes-or-no question, if the reply keeps to it."""
        if set(self._places) != {"yes", "no"}:
            return None
        found = _YES_NO.match(words)
        if found is None:
            return None
        said, rest = found[1].lower(), words[found.end() :]
        other = "no" if said == "yes" else "yes"
        doubts = (rf"(?i)\b{other}\b", _REFUSED, _NOT_HERE)
        if any(re.search(doubt, rest) for doubt in doubts):
            return None
        return self._places[said]


def _parts(words: str) -> list[str]:
    parts = re.split(r"\s*(?:,|/|&|\+|、|\bor\b|\band\b|或|和)\s*", words, flags=re.I)
    return [part for part in parts if part] if len(parts) > 1 else []
