"""The task type of a request, from its text."""

from routecost.classifier.features import CONTEXT
from routecost.classifier.model import MAX_CLASSES, NATURAL_MIX, Classifier, Prediction, Term, load, save

__all__ = ["CONTEXT", "MAX_CLASSES", "NATURAL_MIX", "Classifier", "Prediction", "Term", "load", "save"]
