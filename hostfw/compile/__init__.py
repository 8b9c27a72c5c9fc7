"""From a Plan to nftables objects, without effects: ordered programs, then the layout that makes them lookups."""
