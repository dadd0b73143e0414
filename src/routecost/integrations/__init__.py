"""routecost inside other people's gateways."""
