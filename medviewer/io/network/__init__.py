"""Studies from and to other systems: DIMSE and DICOMweb. Nothing here is imported before it is used."""
