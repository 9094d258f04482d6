"""Bars that any method must clear: the class prior, a prediction that differs, and the linear area under the margin."""

from __future__ import annotations

import numpy as np

from .base import Case, Verdict


def class_prior(case: Case) -> Verdict:
    """Call the labels of rare classes suspicious and look at no face: 1 - frequency of the given label."""
    return Verdict(1.0 - case.prior[case.given])


def prediction_differs(case: Case) -> Verdict:
    """Flag where the likeliest class out of fold is not the given one (doubtlab's WrongPredictionReason)."""
    label = case.posterior.argmax(1)
    differs = label != case.given
    return Verdict(differs.astype(np.float64), differs, label, case.posterior)


def linear_aum(case: Case) -> Verdict:
    """Low area under the margin of the given label in a linear head's training.

    Pleiss, Zhang, Elenberg, Weinberger, NeurIPS 2020, eq. 1-2, averaged over the folds that trained on the face.
    Differs in: the threshold samples, which give flags, are left out.
    """
    return Verdict(-case.margin)


PEERS = {"class prior": class_prior, "prediction differs": prediction_differs, "linear AUM": linear_aum}
