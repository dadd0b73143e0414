"""How well the words of a request tell the period that it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

_FOLDS: Final = 5
_WIDTH: Final = 1 << 16


def period_scores(
    texts: Sequence[str], later: npt.NDArray[np.bool_], group: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64] | None:
    """How much each text looks like the later period, by a logistic regression on hashed words that has not seen any
    text of its group: what one user says on both sides tells nothing. None where folds would lack a side."""
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
    from sklearn.linear_model import LogisticRegression

    names, of_text = np.unique(group, return_inverse=True)
    fold = of_text % min(_FOLDS, max(len(names), 1))
    hashed: Any = HashingVectorizer(n_features=_WIDTH, norm=None, alternate_sign=False, binary=True).transform(texts)
    words: Any = TfidfTransformer(sublinear_tf=True).fit_transform(hashed)
    scores = np.zeros(len(texts))
    for number in range(int(fold.max()) + 1):
        held = fold == number
        if len(np.unique(later[~held])) < 2:
            return None
        model = LogisticRegression(C=1.0, max_iter=200, class_weight="balanced", solver="liblinear", random_state=0)
        model.fit(words[~held], later[~held])
        # the intercept differs from fold to fold, and ranks are over all of them
        found = model.decision_function(words[held])
        scores[held] = found - float(model.intercept_[0])
    return scores
