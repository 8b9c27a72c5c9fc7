"""Tables in the shapes of other programs, as they leave them in the kernel; only their forms, none of their rules."""

FIREWALLD = """\
table inet firewalld {
	ct helper helper-tftp-udp { type "tftp" protocol udp; l3proto inet; }
	chain mangle_PREROUTING {
		type filter hook prerouting priority mangle + 10; policy accept;
		jump mangle_PREROUTING_ZONES
	}
	chain mangle_PREROUTING_ZONES { return; }
	chain filter_PREROUTING {
		type filter hook prerouting priority filter + 10; policy accept;
		icmpv6 type { nd-router-advert, nd-neighbor-solicit } accept
		meta nfproto ipv6 fib saddr . mark . iif oif missing drop
	}
	chain filter_INPUT {
		type filter hook input priority filter + 10; policy accept;
		ct state { established, related } accept
		iifname "lo" accept
		ct state invalid drop
		jump filter_INPUT_ZONES
		reject with icmpx admin-prohibited
	}
	chain filter_FORWARD {
		type filter hook forward priority filter + 10; policy accept;
		ct state { established, related } accept
		reject with icmpx admin-prohibited
	}
	chain filter_OUTPUT {
		type filter hook output priority filter + 10; policy accept;
		oifname "lo" accept
	}
	chain filter_INPUT_ZONES { iifname "eth0" goto filter_IN_public; }
	chain filter_IN_public { tcp dport 22 accept; reject with icmpx admin-prohibited; }
	chain nat_POSTROUTING { type nat hook postrouting priority srcnat + 10; policy accept; }
}
"""

UFW = """\
table ip filter {
	chain ufw-before-logging-input { }
	chain ufw-before-input { iifname "lo" counter packets 0 bytes 0 accept; jump ufw-user-input; }
	chain ufw-user-input { meta l4proto tcp tcp dport 22 counter packets 0 bytes 0 accept; }
	chain ufw-reject-input { counter packets 0 bytes 0 drop; }
	chain INPUT {
		type filter hook input priority filter; policy drop;
		counter packets 0 bytes 0 jump ufw-before-logging-input
		counter packets 0 bytes 0 jump ufw-before-input
		counter packets 0 bytes 0 jump ufw-reject-input
	}
	chain FORWARD { type filter hook forward priority filter; policy accept; }
	chain ufw-before-output { oifname "lo" counter packets 0 bytes 0 accept; }
	chain OUTPUT {
		type filter hook output priority filter; policy accept;
		counter packets 0 bytes 0 jump ufw-before-output
	}
}
"""

DOCKER = """\
table ip nat {
	chain DOCKER { iifname "docker0" counter packets 0 bytes 0 return; }
	chain PREROUTING {
		type nat hook prerouting priority dstnat; policy accept;
		fib daddr type local counter packets 0 bytes 0 jump DOCKER
	}
	chain POSTROUTING { type nat hook postrouting priority srcnat; policy accept; }
}
table ip filter {
	chain DOCKER { iifname != "docker0" oifname "docker0" counter packets 0 bytes 0 drop; }
	chain DOCKER-FORWARD {
		jump DOCKER-CT
		jump DOCKER-ISOLATION-STAGE-1
		jump DOCKER-BRIDGE
		iifname "docker0" counter packets 0 bytes 0 accept
	}
	chain DOCKER-BRIDGE { oifname "docker0" jump DOCKER; }
	chain DOCKER-CT { oifname "docker0" ct state related,established accept; }
	chain DOCKER-ISOLATION-STAGE-1 { iifname "docker0" oifname != "docker0" jump DOCKER-ISOLATION-STAGE-2; }
	chain DOCKER-ISOLATION-STAGE-2 { oifname "docker0" drop; }
	chain DOCKER-USER { counter packets 0 bytes 0 return; }
	chain FORWARD {
		type filter hook forward priority filter; policy drop;
		counter packets 0 bytes 0 jump DOCKER-USER
		counter packets 0 bytes 0 jump DOCKER-FORWARD
	}
	chain INPUT { type filter hook input priority filter; policy accept; }
	chain OUTPUT { type filter hook output priority filter; policy accept; }
}
"""

LIBVIRT = """\
table ip libvirt_network {
	chain forward {
		type filter hook forward priority filter; policy accept;
		counter packets 0 bytes 0 jump guest_cross
		counter packets 0 bytes 0 jump guest_input
		counter packets 0 bytes 0 jump guest_output
	}
	chain guest_output { ip saddr 192.168.122.0/24 iif "lo" counter packets 0 bytes 0 accept; iif "lo" counter reject; }
	chain guest_input {
		oif "lo" ip daddr 192.168.122.0/24 ct state established,related counter packets 0 bytes 0 accept
		oif "lo" counter packets 0 bytes 0 reject
	}
	chain guest_cross { iif "lo" oif "lo" counter packets 0 bytes 0 accept; }
	chain guest_nat {
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr 192.168.122.0/24 ip daddr != 192.168.122.0/24 counter packets 0 bytes 0 masquerade
	}
}
"""

FAIL2BAN = """\
table inet f2b-table {
	set addr-set-sshd { type ipv4_addr; elements = { 198.51.100.7 }; }
	chain f2b-chain {
		type filter hook input priority filter - 1; policy accept;
		tcp dport 22 ip saddr @addr-set-sshd reject with icmp port-unreachable
	}
}
"""

NFTABLES_SERVICE = """\
table inet filter {
	chain input { type filter hook input priority filter; policy accept; }
	chain forward { type filter hook forward priority filter; policy accept; }
	chain output { type filter hook output priority filter; policy accept; }
}
"""
"""Debian's /etc/nftables.conf as it is shipped: hooks, and nothing that denies."""

MAPPED = """\
table inet custom {
	map ports { type inet_service : verdict; elements = { 25 : jump refuse } }
	chain refuse { drop; }
	chain in { type filter hook input priority 5; tcp dport vmap @ports; }
}
table netdev early {
	chain first { type filter hook ingress device "lo" priority -500; ip saddr 203.0.113.0/24 drop; }
}
table ip6 raw {
	chain PREROUTING { type filter hook prerouting priority raw; policy accept; ip6 saddr ::1 drop; }
}
"""
"""Verdicts by a map, before everything on an interface, and in a table of iptables that no program shows in."""
