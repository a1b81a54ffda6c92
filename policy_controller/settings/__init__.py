"""Settings: a typed table per program, from which flags, file, environment, `--print-config` and the documents are made.

Knows how a setting is written in each place, and which place comes first. Knows no single setting: the tables are
controller/settings.py and enforcer/settings.py.
"""
