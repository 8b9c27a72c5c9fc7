"""Fakes of the outside world and a laboratory of network namespaces, for tests and `make try`."""
