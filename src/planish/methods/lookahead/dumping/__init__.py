"""The dump: everything that training needs of a backbone, taken once, so that it can go.

folder.py      the folder: written a document at a time, whole or not at all; read back
heading.py     what all documents have in common, and whether two dumps are of one backbone
healing.py     documents whose file was damaged or lost, found when a dump goes on
attending.py   one document: a forward pass in pieces, attention mass of the sampled tokens
reading.py     documents from a task or a file, and the model's own continuation of them
"""
