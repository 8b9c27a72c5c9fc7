"""Policies of Kubernetes: decoded, converted to Calico's form, and written back."""
