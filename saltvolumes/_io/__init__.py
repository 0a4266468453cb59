"""Readers and writers of files, one format a module; `open_volume` and `save_volume` call them."""
