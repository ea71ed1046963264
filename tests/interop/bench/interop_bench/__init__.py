"""A driver for every way of using the protocol, written as for the public release; it runs on each of them."""
