r"""Whether words about an option commit a reply to it, or only tell what memory would say.

    qualified("The usual answer is B.", 10, 21, menu)            True: told of what is usual
    qualified("Bananas are usually yellow, so B.", 31, 32, menu) False: a conclusion
    contradicted(" This banana is red.", 1, menu)                True: after an answer of yellow
    revoked(" Actually most bananas are yellow.", 0, menu)       False: a mention takes no box back

A model that names the prior before it answers from the picture must not be read as answering from
memory, and a model that names it afterwards must not lose its answer. The rules are ours; where
they cannot tell, the reply is left unparsed.
"""

from __future__ import annotations

import re

from planish.methods.vfaith.wording import Menu, Value

__all__ = ["asserted", "contradicted", "qualified", "revoked"]

_WINDOW = 160  # characters before and after a value that can qualify it

_CHINESE_HABIT = (
    "记忆|印象|常识|现实|真实|生活中|通常|一般|正常|平时|平常|往常|普通|典型|直觉|乍一?看|第一眼"
    "|[不没]看|预期|本来|原本|常见|多数|默认|习惯|传统|按理"
)
_HABIT = re.compile(
    r"\b(?:memory|recollection|remember(?:ed)?|real[- ](?:life|world)"
    r"|real(?! (?:answer|option|choice|colou?r|one)\b)(?=\s+\w)|irl|in nature"
    r"|ordinar(?:y|ily)|(?<!as )usual(?:ly)?|normal(?:ly)?|typical(?:ly)?|commonly|generally"
    r"|in general|in theory|traditional(?:ly)?|conventional(?:ly)?|stereotyp\w*|habit\w*|otherwise"
    r"|(?<!as )expected|expectations?|by default|gut|naive(?:ly)?|instinct\w*|intuiti\w+"
    r"|(?:common|standard|default|stock|obvious|first|initial|instant|automatic|reflex)"
    r" (?:answer|option|choice|pick|guess|response|reply|sense|knowledge|colou?r|thought|impulse)"
    r"|(?:world|prior|general|background|my) knowledge|what I know|from experience|prior(?! to)"
    r"|(?:without|before|not) (?:even )?(?:looking|seeing|checking)"
    r"|at first(?: glance| sight)?|first glance"
    r"|(?:one|people|anyone|everyone|everybody|someone|most|many|you)(?:'d| would| might| may)?"
    r" (?:say|think|expect|answer|guess|pick|choose|give|assume)s?"
    r"|(?:I'd|I would) expect|have (?:guessed|expected|thought|said|been)"
    r"|(?<!the )most (?:people|of them|(?!\w+ous\b)\w+s))\b"
    rf"|{_CHINESE_HABIT}",
    re.I,
)
_CONTRAST = re.compile(
    r"\b(?:not (?!looking|even|seeing|checking)|never|unlike|instead|rather than|opposed|contrary"
    r"|contrast|despite|in spite|regardless|ignor\w+|disregard\w+|against|although|though|while"
    r"|whereas|than|differ\w*)\b|n't\b|不是|并非|而非|不同|不像|虽然|尽管",
    re.I,
)
_SEEN = re.compile(
    r"^\s*but\b|\b(?:here|(?:in|on|for) (?:this|the|that) (?:\w+ )?(?:picture|image|photo\w*|scene"
    r"|case|figure|drawing)"
    r"|(?:the|this) (?:picture|image|photo\w*|scene|figure|drawing) (?:(?:clear|actual)ly )?"
    r"(?:shows?|depicts|has|displays|contains|is)|this (?!is (?:because|why|how)\b)(?:\w+ ){0,2}?"
    r"(?:is|looks|appears|has|shows)|shown|depicted|pictured|I (?:can )?see"
    r"|look(?:ing|ed)? (?:closer|closely|again|more)|closer (?:look|inspection))\b"
    r"|图[片像]?[中里上]|照片[中里上]|画面|[这本此][张幅]?图|仔细看|[这本此][个根只条块辆朵颗张种]",
    re.I,
)
_TURNED = re.compile(
    r"\b(?:wait|actually|correction|on second thought|hmm+|oops|sorry|scratch that|mistake"
    r"|however|in fact|re-?(?:check|examin|consider)\w*)\b|(?:^|[.!?\n]\s*)no\b[,.!]"
    r"|更正|等等|不对|其实|然而|不过",
    re.I,
)
_SETTLES = re.compile(
    r"\b(?:(?:it|that|this|this one|the (?:\w+ ){1,3}?)(?:'s|\s*(?:is|was|must be|should be"
    r"|would be|has to be|looks|appears|seems))|make (?:it|that)|I mean|I meant)\b"
    r"|应该?是|应为|应选",
    re.I,
)
_SENTENCE = re.compile(r"[!?\n。！？;；]+|\.(?!\d)")
_PIECE = re.compile(
    r"([,，:：()]|\s[-–—]\s|—|→|⇒|[-=]>|\b(?:but|however|so|therefore|thus|hence|because|since|which"
    r"|although|though|while|whereas|yet)\b|因此|所以|因为|但是?|而是|虽然|尽管)",
    re.I,
)
_CARRIES = re.compile(r"[,，:：]")
_VERB = re.compile(r"\b(?:is|are|was|have|has|had|do|does|looks?|shows?)\b|'s\b|是|有", re.I)
_DENIED = re.compile(
    r"\b(?:not|never|neither|nor|wrong|incorrect|false|excluded|eliminated|ruled)\b|n't\b|不|没|错",
    re.I,
)
_ASIDE = re.compile(r"\b(?:instead of|rather than|unlike|than|as opposed to|contrary to)\b", re.I)
_TRAILS = re.compile(
    r"[\s)\]]*(?:[,，(（]|\s[-–—]\s)?\s*"
    r"(?:(?:at least|only|just|perhaps|probably|that's|that is)\s+)?"
    r"(?:(?:in|for|from|by|on|with|without|going|judging|based|according|is|are|was|would|as|if|when"
    r"|before|that|one|people|most|you|I|I'd|usually|normally|typically|ordinarily|generally|commonly"
    r"|otherwise|traditionally|conventionally)\b"
    rf"|(?=[是在按凭对于若从这就也]{{0,3}}(?:{_CHINESE_HABIT})))"
)


def _habitual(words: str) -> bool:
    """Whether the words speak of what is usual, remembered or expected, and not to deny it."""
    found = _HABIT.search(words)
    return found is not None and not _CONTRAST.search(words, 0, found.start())


def _leads(piece: str, menu: Menu) -> bool:
    """Whether a piece of a sentence, such as "In real life", qualifies the piece behind it."""
    if not _habitual(piece) or menu.mentioned(piece):
        return False
    return bool(re.match(r"\s*if\b|\s*如果", piece, re.I)) or not _VERB.search(piece)


def qualified(words: str, start: int, end: int, menu: Menu, *, boxed: bool = False) -> bool:
    """Whether what is said at a place is said of memory, habit or expectation.

    Args:
        words: the whole reply.
        start: where the statement or the box begins.
        end: where its value ends.
        menu: the options.
        boxed: a box that follows an option's own words is a conclusion, whatever came before.
    """
    before = _SENTENCE.split(words[max(0, start - _WINDOW) : start])[-1]
    pieces = _PIECE.split(before)
    clause = pieces[-1] + words[start:end]
    if _habitual(clause):
        habit = [found.end() for found in _HABIT.finditer(clause)][-1]
        if not (boxed and menu.mentioned(clause[habit:])):
            return True
    if len(pieces) > 2 and _CARRIES.fullmatch(pieces[-2]) and _leads(pieces[-3], menu):
        return True
    return _trailing(words[end : end + _WINDOW], menu)


def _trailing(after: str, menu: Menu) -> bool:
    """Whether what follows a value in its sentence qualifies it: "in real life", "from memory"."""
    sentence = _SENTENCE.split(after, maxsplit=1)[0]
    opening = _TRAILS.match(sentence)
    if opening is None:
        return False
    bare = sentence.lstrip(" )],，(（-–—")
    piece = _PIECE.split(bare, maxsplit=1)[0]
    habit = _HABIT.search(piece)
    if habit is None:
        return False
    apart = re.search(r"[,，(（–—-]", sentence[: len(sentence) - len(bare)])
    if apart and _VERB.search(piece, habit.end()):
        return False  # "No, in real life bananas are yellow": a reason, with a verb of its own
    told = piece[: habit.start()]
    return not (_CONTRAST.search(told) or _SEEN.search(told) or menu.mentioned(told))


def asserted(words: str, menu: Menu) -> set[int]:
    """Options that the words name as what is so: not denied, not told of what is usual."""
    found: set[int] = set()
    for sentence in _SENTENCE.split(words):
        added: set[int] = set()
        led = denied = False
        for place, piece in enumerate(_PIECE.split(sentence)):
            if place % 2:
                carries = bool(_CARRIES.fullmatch(piece))
                led, denied = led and carries, denied and carries
                continue
            # "not A, B or D": without a verb of its own, a piece goes on with what came before.
            denied = bool(_DENIED.search(piece)) or (denied and not _VERB.search(piece))
            said = menu.mentioned(_ASIDE.split(piece, maxsplit=1)[0])
            usual = bool(_HABIT.search(_ASIDE.split(piece, maxsplit=1)[0]))
            if not said and usual and added and _TRAILS.match(piece.lstrip()):
                found -= added  # "it is yellow, in real life"
            added = set() if led or usual or denied else said - found
            led = _leads(piece, menu)
            found |= added
    return found


def contradicted(tail: str, value: Value, menu: Menu) -> bool:
    """Whether what follows a statement says of the picture, or on second thought, another option.

    Args:
        tail: the words behind the statement.
        value: what it settles on.
        menu: the options.
    """
    if not isinstance(value, int):
        return False
    turned = False
    for sentence in _SENTENCE.split(tail):
        turn = None if turned else _TURNED.search(sentence)
        turned = turned or turn is not None
        if turned or _SEEN.search(sentence):
            told = asserted(sentence, menu)
            if told and value not in told:
                return True
    return False


def revoked(tail: str, value: Value, menu: Menu) -> bool:
    """Whether what follows a box takes it back by settling on another option.

    Only a second thought that settles on something does: "Wait, it is C." A mention does not.
    """
    if not isinstance(value, int):
        return False
    turn = _TURNED.search(tail)
    if turn is None:
        return False
    for sentence in _SENTENCE.split(tail[turn.end() :]):
        at = len(sentence) - len(sentence.lstrip(" ,，:："))
        direct, _ = menu.value_at(sentence, at)
        if isinstance(direct, int) or _SETTLES.search(sentence):
            told = asserted(sentence, menu)
            if told and value not in told:
                return True
    return False
