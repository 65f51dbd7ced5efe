"""stub"""
from sgopd.verifier.cheap import Decision
def compare(gold: str, answer: str, places: int | None) -> Decision:
    return Decision(None, "stub")
