"""Measures of vectors, identifiers and recommendations; nothing is trained here."""
