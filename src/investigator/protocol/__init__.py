"""What is said and judged, as pure functions and values: no event loop, no clock, no socket, no file.

Time, keys and facts are arguments, so that each rule can be tested with a call. A test enforces it.
"""
