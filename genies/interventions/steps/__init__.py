"""Steps that several interventions share; no module here is an intervention."""
