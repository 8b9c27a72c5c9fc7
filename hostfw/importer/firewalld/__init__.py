"""The files of firewalld (firewalld.zone(5), firewalld.policy(5)) as the chains that firewalld makes of them."""
