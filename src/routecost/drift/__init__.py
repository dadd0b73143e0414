"""Whether requests are still what a classifier and a routing table were made for."""
