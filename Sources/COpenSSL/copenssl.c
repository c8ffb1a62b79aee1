// Anchors the target; see include/COpenSSL.h.
