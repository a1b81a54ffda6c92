"""What readers of hostile input are tried with: valid input in which something was changed, and how often that is tried.

Knows bytes, texts and trees. Knows no reader: the tests are in tests/, one file for each kind of input.
"""
