"""The note, sentence by sentence: each statement has a row, and the count is right."""

import re
from collections import Counter
from pathlib import Path

import pytest

PAGES = Path(__file__).parent.parent / "docs"
ROW = re.compile(
    r"^\| \*\*(\d+)([a-z]?)\*\*\{: #s\1\2\} [^|]+<br>\*\*([^|*]+)\*\* \| [^|]+ \|$",
    re.M,
)
VERDICT = re.compile(r"\{\{ lab\.\w+\.claim_\w+ == (\w+) \}\}")
VERDICTS = ("holds", "conditional", "fails", "unmeasured")
WORDS = {  # of what cannot be measured
    "zh": {"定义", "史实", "史实不同", "叫法", "占坑"},
    "en": {
        "definition",
        "history",
        "history differs",
        "a name",
        "to be filled in",
    },
}


@pytest.fixture(params=["zh", "en"])
def language(request):
    return request.param


def read(language):
    return (PAGES / language / "claims.md").read_text("utf-8")


def rows(language):
    """(number, letter, verdict) of each row; the verdict is "" for a plain word."""
    found = []
    for number, letter, cell in ROW.findall(read(language)):
        verdict = VERDICT.fullmatch(cell)
        assert verdict or cell in WORDS[language], f"{number}{letter}: {cell}"
        found.append((int(number), letter, verdict[1] if verdict else ""))
    return found


def test_all_forty_nine_statements_stand_in_order(language):
    found = [(number, letter) for number, letter, _ in rows(language)]
    assert [number for number, _ in dict.fromkeys(found)] == sorted(n for n, _ in found)
    assert {number for number, _ in found} == set(range(1, 50))
    for number in range(1, 50):
        letters = [letter for n, letter in found if n == number]
        assert letters in ([""], list("abcdef"[: len(letters)])), number


def test_the_rows_are_counted(language):
    verdicts = Counter(verdict for _, _, verdict in rows(language))
    count = re.search(r"^## .*\{#count\}\n(.*?)^## ", read(language), re.M | re.S)[1]
    told = [int(number) for number in re.findall(r"\*\*(\d+)\*\*", count)]
    wanted = [verdicts.total(), *(verdicts[v] for v in VERDICTS), verdicts[""]]
    assert told == wanted


def test_the_most_frequent_verdict_is_the_one_that_is_said_to_be(language):
    verdicts = Counter(verdict for _, _, verdict in rows(language))
    (first, most), (_, next_most) = verdicts.most_common(2)
    assert first == "conditional"
    assert most > next_most


def plain(text):
    """What is left of words when spacing, punctuation and quoting are taken off."""
    return re.sub(r"[\s,.，。、（）()`]", "", text)


def test_the_words_of_the_note_stand_in_every_row(language):
    note = (PAGES / "zh/note.md").read_text("utf-8").split("```")[1]
    assert note in (PAGES / "en/note.md").read_text("utf-8")
    found = [row for row in read(language).split("\n") if row.startswith("| **")]
    assert len(found) == len(rows(language))
    for row in found:
        words = r'<q lang="zh">(.+?)</q>|`([^`]+)`\{\.wrap\}'
        quoted = re.search(rf"<br>(?:{words})<br>\*\*", row)
        assert quoted, row[:60]
        assert plain(quoted[1] or quoted[2]) in plain(note), row[:60]


def test_the_rows_that_fail_come_first(language):
    fails = [
        f"{n}{letter}" for n, letter, verdict in rows(language) if verdict == "fails"
    ]
    count = re.search(r"^## .*\{#count\}\n(.*?)^## ", read(language), re.M | re.S)[1]
    assert re.findall(r"^- \[[^\]]*\]\(#s(\w+)\)", count, re.M) == fails


def test_both_languages_judge_alike():
    assert rows("zh") == rows("en")
