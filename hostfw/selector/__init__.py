"""Selectors: the expressions over labels that choose HostEndpoints and GlobalNetworkSets, without effects."""
