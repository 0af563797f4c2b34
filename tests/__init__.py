"""The tests: on real parts, through public interfaces."""
