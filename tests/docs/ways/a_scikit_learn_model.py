"""Write what "A scikit-learn model" reads."""

from __future__ import annotations

import joblib
from my_project import load
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier

images, targets = load("train")
for kind, classifier in {
    "linear": LogisticRegression(),
    "bayes": GaussianNB(),
    "network": MLPClassifier([8], random_state=0),
}.items():
    classifier.fit(images.flatten(1).numpy(), targets.numpy())
    joblib.dump(classifier, f"models/{kind}.joblib")
