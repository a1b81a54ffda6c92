"""What the documents of the served kinds look like.

types.json   names and types of fields, written by a tool (see CONTRIBUTING.md)
merges       which lists and objects are merged, and by which keys
shapes       both, as values
checks       a document against its shape: what is unknown, missing or of the wrong type
"""
