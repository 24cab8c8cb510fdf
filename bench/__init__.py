"""Measurements. `./dev bench [NAME ...]` runs them and prints tables; nothing here is a test."""
