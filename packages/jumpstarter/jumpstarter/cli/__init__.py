"""The commands `jmp` and `j`: parse, call, print."""
