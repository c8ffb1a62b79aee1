"""Tables of differential cases, one file per topic; each exports GROUPS."""
