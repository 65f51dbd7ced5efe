"""What our own reading leaves open, asked of math-verify (sympy), under guards against its known false accepts.

Runs only inside a worker process: it may take long, much memory, or crash. Its own time limits are off.
"""

from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

from sgopd.verifier.cheap import Decision


def compare_symbolically(gold: str, answer: str, why_open: str) -> Decision:
    """Both read by math-verify as formulas and found equal, or not shown to be equal."""
    try:
        read_gold, read_answer = _read(gold), _read(answer)
        if not read_gold or not read_answer:
            return Decision(None, f"not readable as mathematics ({why_open})")
        equal = verify(read_gold, read_answer, strict=True, timeout_seconds=None, raise_on_error=True)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - sympy raises anything
        return Decision(None, f"the symbolic engine failed: {type(error).__name__} ({why_open})")
    return Decision(bool(equal), f"symbolic engine ({why_open})")


def _read(answer: str) -> list[object]:
    configs = (LatexExtractionConfig(), ExprExtractionConfig())
    found = parse(f"\\[{answer}\\]", configs, fallback_mode="no_fallback", extraction_mode="first_match", parsing_timeout=None)
    return [item for item in found if not isinstance(item, str)]
