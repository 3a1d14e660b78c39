"""Convert TeX to MathML: the checker to see whether it can, the press for the page."""

from math_core import LatexToMathML

MATHML = LatexToMathML(pretty_print="never")


def mathml(tex: str, display: bool) -> str:
    """Convert a formula; raises math_core.LatexError where it is not valid TeX."""
    return MATHML.convert_with_local_state(tex, displaystyle=display)
