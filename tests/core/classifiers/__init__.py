"""Tests of core/classifiers."""
