// Anchors the target; see include/CYAML.h.
