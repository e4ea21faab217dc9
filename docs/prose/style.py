"""This project's English, as checks of proselint: words that we do not write, and how long a sentence may be."""

from __future__ import annotations

import re
from collections.abc import Iterator

from proselint.registry.checks import Check, CheckResult
from proselint.registry.checks.types import ExistenceSimple, PreferredFormsSimple

MOST_WORDS = 35
"""Words of a sentence. A longer one has to be read twice."""

INSTEAD = {
    "anew": "again",
    "whoever": "people who",
    "in vain": "without success",
    "gone on with": "continued",
    "there where": "where",
    "hang on": "depend on",
    "hangs on": "depends on",
    "to be had": "available",
    "lest": "so that ... not",
    "is not yet what it should be": "falls short",
    "are not yet what they should be": "fall short",
    "is to give": "should give",
    "are to give": "should give",
}
"""What reads as if it were translated, and what to write."""

OF_IT_AT_THE_END = r"\b\w+ of it(?:[.,;:!?)]|$)"
INVERSION = (
    r"(?:^|[.:;] )(?:In|On|Beside|Below|Behind|Under|From|With|Of|To) (?:it|them|this|these|that) "
    r"(?:is|are|stands?|lies?|goes|comes|follows?|belongs?)\b"
)

_SENTENCE_ENDS = re.compile(r"[.!?:]\)?(?=\s|$)")
_WORD = re.compile(r"[^\W_][\w'.,/-]*")


def long_sentences(text: str, check: Check) -> Iterator[CheckResult]:
    """Sentences of more than MOST_WORDS words. A colon ends one too: what follows can be read by itself."""
    begin = 0
    for end in [*(match.end() for match in _SENTENCE_ENDS.finditer(text)), len(text)]:
        words = len(_WORD.findall(text, begin, end))
        if words > MOST_WORDS:
            lead = len(text[begin:end]) - len(text[begin:end].lstrip())
            yield CheckResult(check.path, check.message.format(words), (begin + lead, end), None)
        begin = end


OUR_WORDS = (
    Check(PreferredFormsSimple(INSTEAD), path="neucodex.words", message="write '{}' instead of '{}'"),
    Check(ExistenceSimple(OF_IT_AT_THE_END), path="neucodex.of_it", message="'{}' ends a clause: name the thing"),
    Check(ExistenceSimple(INVERSION), path="neucodex.inversion", message="'{}': begin with the subject"),
)
"""For messages too: in them a sentence is never long."""

OUR_STYLE = (
    *OUR_WORDS,
    Check(long_sentences, path="neucodex.sentence", message=f"a sentence of {{}} words: {MOST_WORDS} at most"),
)

NOT_OURS = frozenset(
    (
        "typography",  # pages are ASCII, as code is: no curly quotes, no multiplication sign
        "diacritical_marks",
        "annotations",
        "dates_times",
        "lexical_illusions",  # sees shapes, such as 4 x 8 x 8, as a word written twice
    )
)
"""proselint's own checks that do not fit documentation of software."""
