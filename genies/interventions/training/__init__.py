"""What trained interventions share: a reward model trained on pairs of texts."""
