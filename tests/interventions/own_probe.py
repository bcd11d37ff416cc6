"""An example of your own intervention: prefer the text whose residual stream is longer, or shorter."""

import numpy as np

from genies.interventions.base import Intervention


class LongerVector(Intervention):
    features = ("residual",)
    fit_views = predict_views = ("plain",)

    def fit(self, pairs):
        length = np.linalg.norm(pairs.residual("plain", 1), axis=2)
        self.sign_ = float(np.sign(np.mean(length[:, 0] - length[:, 1])))
        return self

    def decision_function(self, pairs):
        return self.sign_ * np.linalg.norm(pairs.residual("plain", 1).astype(np.float64), axis=2)

    def predict_proba(self, pairs):
        score = self.decision_function(pairs)
        return 1 / (1 + np.exp(score[:, 1] - score[:, 0]))

    def get_state(self):
        return {}, {"sign": self.sign_}

    def set_state(self, arrays, values):
        self.sign_ = values["sign"]
        return self
