// Anchors the target; see include/CAres.h.
