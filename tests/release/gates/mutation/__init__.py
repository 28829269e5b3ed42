"""Tests of the mutation gate."""
