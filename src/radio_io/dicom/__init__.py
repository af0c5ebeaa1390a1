"""From DICOM files to rendered radiographs: walk, header, decode, render, check, regions."""
