"""Quick rules: a policy in a few words, as people of ufw and firewalld type it, and the files that say it at length."""
