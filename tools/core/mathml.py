"""TeX to MathML, as the checker tries it and the press writes it."""

from math_core import LatexToMathML

MATHML = LatexToMathML(pretty_print="never")


def mathml(tex: str, display: bool) -> str:
    """Convert TeX; raises math_core.LatexError on bad TeX."""
    return MATHML.convert_with_local_state(tex, displaystyle=display)
