"""Sockets, and the services and ssh sessions behind them."""
