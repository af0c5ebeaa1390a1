"""Radiographs from DICOM files to indexed shards and to batches."""
