"""From the many characters that look like mathematics to the LaTeX they stand for. Knows no LaTeX beyond that.

In: any text. Out: text that is ASCII where it is mathematics. Letters that only look like others are left alone, and so unreadable.
"""

import re
import unicodedata

_UNICODE = {
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "﹣": "-", "×": r"\times ", "⋅": r"\cdot ", "·": r"\cdot ",
    "∙": r"\cdot ", "÷": "/", "∕": "/", "⁄": "/", "π": r"\pi ", "√": r"\sqrt ", "∞": r"\infty ", "≤": r"\le ",
    "≥": r"\ge ", "≠": r"\ne ", "⩽": r"\le ", "⩾": r"\ge ", "≈": r"\approx ", "∈": r"\in ", "∪": r"\cup ", "∩": r"\cap ",
    "∅": r"\emptyset ",
    "Ø": r"\emptyset ", "°": r"^\circ ", "º": r"^\circ ", "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}",
    "ℚ": r"\mathbb{Q}", "ℕ": r"\mathbb{N}", "ℂ": r"\mathbb{C}", "±": r"\pm ", "∓": r"\mp ", "∣": "|", "…": r"\ldots ",
    "⋯": r"\ldots ", "∖": r"\setminus ",
    "⌊": r"\lfloor ", "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ", "∧": r"\land ", "∨": r"\lor ", "′": "'", "’": "'",
    "‘": "'", "“": "", "”": "", "，": ",", "：": ":", "；": ";", "（": "(", "）": ")", "％": r"\%", "￥": "", "¥": "", "€": "",
    "£": "", "∛": r"\sqrt[3]",
}  # fmt: skip
_GREEK = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho _ sigma tau upsilon phi chi psi "
    "omega"
)
_UNICODE |= {chr(0x3B1 + i): f"\\{name} " for i, name in enumerate(_GREEK.split()) if name not in ("_", "omicron")}
_UNICODE |= {
    letter: f"\\{name} "
    for letter, name in zip("ΓΔΘΛΞΠΣΦΨΩ", "Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega".split(), strict=True)
}
_SUPERSCRIPT = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n", strict=True))
_SUBSCRIPT = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋ₙ", "0123456789+-n", strict=True))
_INVISIBLE = re.compile("[\u200b\u200c\u200d\u2060\ufeff\u00ad]")
_DIRECTION = re.compile("[\u202a-\u202e\u2066-\u2069]")  # text that is shown in another order than it is stored
_SCRIPT = re.compile("[" + "".join(_SUPERSCRIPT) + "]+|[" + "".join(_SUBSCRIPT) + "]+")
_TRANSLATE = str.maketrans(_UNICODE)


def plain_characters(text: str) -> str:
    if text.isascii():
        return text
    text = _INVISIBLE.sub("", text)
    if _DIRECTION.search(text):
        return r"\unreadable"
    text = _SCRIPT.sub(lambda m: _script(m.group()), text)
    text = "".join(_vulgar_fraction(c) if unicodedata.category(c) == "No" else c for c in text).translate(_TRANSLATE)
    return unicodedata.normalize("NFKC", text).translate(_TRANSLATE)


def _script(run: str) -> str:
    if run[0] in _SUPERSCRIPT:
        return "^{" + "".join(_SUPERSCRIPT[c] for c in run) + "}"
    return "_{" + "".join(_SUBSCRIPT[c] for c in run) + "}"


def _vulgar_fraction(character: str) -> str:
    top, slash, bottom = unicodedata.normalize("NFKC", character).partition("⁄")
    return f"\\frac{{{top}}}{{{bottom}}}" if slash and bottom else character
