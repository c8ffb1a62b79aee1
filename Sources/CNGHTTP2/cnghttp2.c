// Anchors the target; see include/CNGHTTP2.h.
