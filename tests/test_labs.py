"""What a lab hands over: its results, and what becomes of them."""

import pytest

from tools.labs.records import check_results

# fmt: off
BAD = {
    "no dict": ([1], "`results` must be a dict"),
    "nothing": ({}, "at least one entry"),
    "a number as key": ({1: 1}, "results[1]: a key is a plain name"),
    "a key in words": ({"a b": 1}, "results['a b']: a key is a plain name"),
    "bool": ({"a": True}, "results['a'] is or holds True: write 0 or 1, or a verdict"),
    "bool in a list": ({"a": [1, False]}, "results['a'] is or holds False"),
    "empty list": ({"a": []}, "results['a'] is an empty list, leave it out"),
    "tuple": ({"a": (1, 2)}, "a number, a string or a list of these, not tuple"),
    "list in a list": ({"a": [[1]]}, "not list"),
    "None": ({"a": None}, "not NoneType"),
    "NaN": ({"a": float("nan")}, "results['a'] is or holds nan"),
    "infinity": ({"a": [float("inf")]}, "results['a'] is or holds inf"),
}
# fmt: on


@pytest.mark.parametrize("results, message", BAD.values(), ids=BAD)
def test_results_that_no_page_could_print(results, message):
    with pytest.raises(ValueError) as error:
        check_results(results)
    assert message in str(error.value)


def test_plain_results_are_taken():
    check_results({"gap_2": 0.5, "n": 5, "claim": "holds", "each": [1, 2.0, "x"]})
