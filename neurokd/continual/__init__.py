"""Continual learning: SDMLP, selective subnetwork distillation, and the baselines."""
