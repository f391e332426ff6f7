"""Finds the sentence around a piece of a text."""

import re

# A full stop after one of these, or after one letter (an initial, "U.S."), ends no sentence.
_ABBREVIATIONS = frozenset((
    "mr", "mrs", "ms", "dr", "st", "prof", "gen", "col", "sgt", "capt", "rev", "hon",
    "jr", "sr", "no", "vol", "pp", "ca", "cf", "vs", "etc", "fig", "eds", "ed", "jan",
    "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec", "inc", "ltd", "co", "corp",
))  # fmt: skip
_END = re.compile(
    r"[.!?\u2026\u3002][\"'\u201d\u2019)\]]*(?=\s+[\"'\u201c\u2018(\[]*[A-Z0-9\u00c0-\u00de])|\n[ \t\r]*\n"
)
_WORD_BEFORE = re.compile(r"[\w.]+$")
# What follows a full stop decides whether it ends a sentence: so many characters beyond a place are looked at.
_AHEAD = 50
# A text without full stops, such as a table, is one long sentence: what is shown of it ends here.
LONGEST = 300


def sentence_around(text: str, start: int, end: int) -> tuple[int, int]:
    """Where the sentence begins and ends (characters, end exclusive) that holds `text[start:end]`.

    A sentence ends at a full stop, question or exclamation mark that a capital or a digit follows, and at an empty
    line; more than `LONGEST` characters to either side are cut off, between words.
    """
    lowest, highest = max(0, start - LONGEST), min(len(text), end + LONGEST)
    first = lowest if lowest == 0 else _next_word(text, lowest, start)
    for match in _END.finditer(text, lowest, min(len(text), start + _AHEAD)):
        if match.end() > start:
            break
        if _ends(text, match):
            first = match.end()
    last = highest if highest == len(text) else _last_word(text, end, highest)
    for match in _END.finditer(text, end, min(len(text), highest + _AHEAD)):
        if match.end() > highest:
            break
        if _ends(text, match):
            last = match.end()
            break
    while first < start and text[first].isspace():
        first += 1
    while last > end and text[last - 1].isspace():
        last -= 1
    return first, last


def whole_words(text: str, start: int, end: int) -> tuple[int, int]:
    """`text[start:end]` made longer by what is missing of its first and its last word: models read parts of words."""
    while start and text[start - 1].isalnum() and text[start].isalnum():
        start -= 1
    while end < len(text) and text[end - 1].isalnum() and text[end].isalnum():
        end += 1
    return start, end


def _ends(text: str, match: "re.Match[str]") -> bool:
    if text[match.start()] != ".":
        return True
    before = _WORD_BEFORE.search(text, max(0, match.start() - 20), match.start())
    word = before.group().lower() if before else ""
    return not (word in _ABBREVIATIONS or re.fullmatch(r"([a-z]\.)*[a-z]", word))


def _next_word(text: str, begin: int, end: int) -> int:
    space = re.compile(r"\s").search(text, begin, end)
    return space.end() if space else begin


def _last_word(text: str, begin: int, end: int) -> int:
    cut = max((text.rfind(c, begin, end) for c in " \n\t"), default=-1)
    return cut if cut > begin else end
