"""Public names for the interventions of users; all of them are defined in ``genies.interventions``."""
