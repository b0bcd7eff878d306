"""Clips to train on: fetched, packed into stores, chosen, drawn and loaded."""
