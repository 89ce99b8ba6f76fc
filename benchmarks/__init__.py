"""How fast letterlib is beside what one would otherwise use: both sides in one run, on one machine,
alternating.
"""
