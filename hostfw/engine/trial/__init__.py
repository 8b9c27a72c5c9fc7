"""Generations on trial: a deadline, proof that the host can be reached, and the way back."""
