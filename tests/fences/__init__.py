"""Tests of the house itself: doors, floors, tables, sizes, text. Each fails when its fence is broken on purpose."""
