"""What touches a disk, a signal or a name: DICOM, safe text, whole-file writes, pseudonyms, checkpoints."""
