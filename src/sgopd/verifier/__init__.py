"""Checks answers: exact, bounded, in processes that can be killed. The verdict is the trust signal of the method.

In: gold answers and responses. Out: a ``Verdict`` each. The policies are in docs/verifier.md.
"""

from sgopd.verifier.check import check_file
from sgopd.verifier.judge import verify
from sgopd.verifier.readable import readable_gold
from sgopd.verifier.types import Verdict, VerifierOptions

__all__ = ["Verdict", "VerifierOptions", "check_file", "readable_gold", "verify"]
