"""The findings of `hostfwctl doctor`: this host, its environment and other firewalls."""
