"""Links, addresses, DHCP, the resolver."""
