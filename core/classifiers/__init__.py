"""Classifiers of text that run offline, each named by its digest and with its measured precision and recall."""
